"""Renders a streamed text completion from planned tokens."""

from collections.abc import Sequence

from vllm_mock.protocol.json_text import quote, to_bytes
from vllm_mock.protocol.sse import DONE, CompletionChunks, StreamOptions, Token, json_ids
from vllm_mock.routes.openai.answer import AnswerOptions, final_usage
from vllm_mock.routes.openai.completion_choice import CompletionEcho
from vllm_mock.routes.openai.request_metrics import usage_chunk_metrics
from vllm_mock.routes.openai.runs import Run
from vllm_mock.routes.plain_tokens import PlainChunks


class CompletionStream:
    """The chunks of one completion stream; positions of each choice must come in order."""

    def __init__(
        self,
        runs: list[Run],
        echoes: Sequence[CompletionEcho],
        options: AnswerOptions,
        stream: StreamOptions,
    ) -> None:
        self._runs = runs
        self._echoes = echoes
        self._options = options
        self._chunks = CompletionChunks(stream)
        self._plain = options.plain and not stream.continuous_usage and not any(e.active for e in echoes)
        self._parts = [self._chunks.plain_parts(index) for index in range(len(runs))]

    @property
    def plain(self) -> PlainChunks | None:
        """How the tokens of the only choice are rendered, if they are nothing but text."""
        if not self._plain or len(self._runs) > 1:
            return None
        before, after = self._parts[0]
        return PlainChunks(before, self._runs[0].plan.deltas, after)

    def render(self, choice: int, start: int, end: int) -> bytes:
        """The chunks of the tokens start..end-1 of a choice."""
        plan = self._runs[choice].plan
        last = len(plan.token_ids) - 1
        if self._plain:
            before, after = self._parts[choice]
            chunks = [f"{before}{quote(text)}{after}" for text in plan.deltas[start : min(end, last)]]
            # Of those that follow only the final one is left.
            start = last
        else:
            chunks = []
        for first, position in self._options.flushes(start, end, last):
            chunks.append(self._chunk(choice, first, position, finished=position == last))
        return to_bytes("".join(chunks))

    def _chunk(self, choice: int, first: int, last: int, *, finished: bool) -> str:
        """One chunk with the tokens first..last of a choice."""
        run, echo, options = self._runs[choice], self._echoes[choice], self._options
        plan = run.plan
        text = "".join(plan.deltas[first : last + 1])
        ids = plan.ids(first, last)
        entries = None if plan.logprobs is None else plan.logprobs[first : last + 1]
        if echo.only_prompt:
            text, ids, entries = "", [], None if entries is None else []
        opening = first == 0 and (echo.active or options.return_token_ids)
        with_echo = first == 0 and echo.active
        token = Token(
            echo.text + text if with_echo else text,
            echo.logprobs(entries, with_echo),
            json_ids(ids if options.return_token_ids else None),
        )
        if options.return_token_ids and with_echo:
            token.token_ids = json_ids([*run.prompt.token_ids, *ids])
        return self._chunks.chunk(
            choice,
            token,
            len(run.prompt.token_ids),
            plan.count(last),
            finish_reason=plan.finish_reason if finished else None,
            stop_reason=plan.stop_reason if finished else None,
            prompt_token_ids=json_ids(run.prompt.token_ids) if opening else "null",
            kv_transfer_params=options.kv_transfer_params(run) if finished else "null",
        )

    def end(self) -> bytes:
        """The usage chunk, if asked for, and the end of the stream."""
        if not self._chunks.options.include_usage:
            return DONE
        usage = final_usage(self._runs, self._options, chat=False)
        metrics = usage_chunk_metrics(self._runs, self._options.request_metrics)
        return self._chunks.usage(usage, metrics) + DONE
