"""Renders a streamed chat completion from planned tokens."""

from typing import TYPE_CHECKING

from vllm_mock.protocol.json_text import compact, quote, to_bytes
from vllm_mock.protocol.logprobs import chat_logprobs
from vllm_mock.protocol.sse import DONE, ChatChunks, Token, json_ids
from vllm_mock.routes.openai.answer import AnswerOptions, final_usage
from vllm_mock.routes.openai.request_metrics import usage_chunk_metrics
from vllm_mock.routes.openai.runs import Run
from vllm_mock.routes.plain_tokens import PlainChunks

if TYPE_CHECKING:
    from vllm_mock.protocol.sse import StreamOptions


class ChatStream:
    """The chunks of one chat stream; positions of each choice must come in order."""

    def __init__(self, runs: list[Run], options: AnswerOptions, stream: "StreamOptions", role: str, echo: str) -> None:
        self._runs = runs
        self._options = options
        self._chunks = ChatChunks(stream)
        self._role = role
        self._echo = echo
        self._begun = False
        self._prompt_tokens = len(runs[0].prompt.token_ids)
        self._plain = options.plain and not stream.continuous_usage and runs[0].output is None
        self._parts = [self._chunks.plain_parts(index) for index in range(len(runs))]

    @property
    def plain(self) -> PlainChunks | None:
        """How the tokens of the only choice are rendered, if they are nothing but text."""
        if not self._plain or len(self._runs) > 1:
            return None
        before, after = self._parts[0]
        return PlainChunks(before, self._runs[0].plan.deltas, after)

    def render(self, choice: int, start: int, end: int) -> bytes:
        """The chunks of the tokens start..end-1 of a choice; before the first of all come the role chunks."""
        head = b"" if self._begun else self._opening()
        plan = self._runs[choice].plan
        last = len(plan.token_ids) - 1
        if self._plain:
            before, after = self._parts[choice]
            texts = plan.deltas[start : min(end, last)]
            chunks = [f"{before}{quote(text)}{after}" for text in texts]
            # Of those that follow only the final one is left.
            start = last
        else:
            chunks = []
        for first, position in self._options.flushes(start, end, last):
            chunks.append(self._chunk(choice, first, position, finished=position == last))
        return head + to_bytes("".join(chunks))

    def _opening(self) -> bytes:
        self._begun = True
        prompt = self._runs[0].prompt
        ids = json_ids(prompt.token_ids if self._options.return_token_ids else None)
        text = compact(prompt.text) if self._options.return_prompt_text else "null"
        choices = range(len(self._runs))
        thought = None if self._runs[0].output is None or self._runs[0].output.reasoning_counts is None else 0
        opening = [self._chunks.role(index, self._role, self._prompt_tokens, ids, text, thought) for index in choices]
        if self._echo:
            opening += [self._chunks.echo(index, self._echo, self._prompt_tokens) for index in choices]
        return b"".join(opening)

    def _token(self, choice: int, first: int, last: int) -> Token:
        """The tokens first..last of a choice as one chunk's content."""
        plan = self._runs[choice].plan
        logprobs = "null"
        if plan.logprobs is not None:
            entries = plan.logprobs[first : last + 1]
            logprobs = chat_logprobs(entries, self._options.top_logprobs, self._options.tokens_as_ids)
        ids = plan.ids(first, last) if self._options.return_token_ids else None
        return Token("".join(plan.deltas[first : last + 1]), logprobs, json_ids(ids))

    def _chunk(self, choice: int, first: int, last: int, *, finished: bool) -> str:
        """One chunk with the tokens first..last of a choice."""
        plan = self._runs[choice].plan
        token = Token(plan.deltas[last]) if self._plain else self._token(choice, first, last)
        if not finished:
            return self._chunks.token(choice, token, self._prompt_tokens, last + 1)
        transfer = self._options.kv_transfer_params(self._runs[choice])
        return self._chunks.finish(
            choice, token, plan.finish_reason, plan.stop_reason, self._prompt_tokens, plan.count(last), transfer
        )

    def end(self) -> bytes:
        """The usage chunk, if asked for, and the end of the stream."""
        if not self._chunks.options.include_usage:
            return DONE
        usage = final_usage(self._runs, self._options, chat=True)
        metrics = usage_chunk_metrics(self._runs, self._options.request_metrics)
        return self._chunks.usage(usage, metrics) + DONE
