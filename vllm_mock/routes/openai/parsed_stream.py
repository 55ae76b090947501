"""Renders a streamed chat completion whose text is read by parsers for reasoning or tool calls."""

from vllm_mock.output import OutputDelta, ParsedOutput
from vllm_mock.protocol.json_text import to_bytes
from vllm_mock.protocol.sse import Token
from vllm_mock.routes.openai.answer import flush_positions
from vllm_mock.routes.openai.chat_stream import ChatStream


class ParsedChatStream(ChatStream):
    """As its base; each chunk has what the parsers make of its tokens, and tokens without such have no chunk."""

    def render(self, choice: int, start: int, end: int) -> bytes:
        """The chunks of the tokens start..end-1 of a choice; before the first of all come the role chunks."""
        head = b"" if self._begun else self._opening()
        run = self._runs[choice]
        assert run.output is not None
        last = len(run.plan.token_ids) - 1
        chunks = [
            self._parsed(choice, run.output, first, position)
            for first, position in flush_positions(start, min(end, last), self._options.stream_interval)
        ]
        if end > last:
            chunks.append(self._parsed_finish(choice, run.output, last))
        return head + to_bytes("".join(chunks))

    def _parsed(self, choice: int, output: ParsedOutput, first: int, last: int) -> str:
        delta = output.deltas[last]
        shows_tokens = self._options.return_token_ids or self._options.logprobs
        if delta is None and (not shows_tokens or self._hides_tokens(choice)):
            return ""
        token = self._shown_token(choice, first, last)
        usage = self._running_usage(choice, output, last)
        return self._chunks.parsed(choice, delta or OutputDelta(), token.logprobs, token.token_ids, usage)

    def _parsed_finish(self, choice: int, output: ParsedOutput, last: int) -> str:
        first = self._options.first_of_last_flush(last)
        delta = output.deltas[last] or OutputDelta()
        token = self._shown_token(choice, first, last)
        usage = self._running_usage(choice, output, last)
        stop_reason = self._runs[choice].plan.stop_reason
        transfer = self._options.kv_transfer_params(self._runs[choice])
        return self._chunks.parsed_finish(
            choice, delta, output.finish_reason, stop_reason, token.logprobs, token.token_ids, usage, transfer
        )

    def _shown_token(self, choice: int, first: int, last: int) -> Token:
        return Token("") if self._hides_tokens(choice) else self._token(choice, first, last)

    def _hides_tokens(self, choice: int) -> bool:
        parsing = self._runs[choice].parsing
        return parsing is not None and parsing.hides_tokens

    def _running_usage(self, choice: int, output: ParsedOutput, last: int) -> str:
        thought = None if output.reasoning_counts is None else output.reasoning_counts[last]
        return self._chunks.running_usage(self._prompt_tokens, self._runs[choice].plan.count(last), thought)
