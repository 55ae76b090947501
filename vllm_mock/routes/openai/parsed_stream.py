"""Renders a streamed chat completion whose text is read by parsers for reasoning or tool calls."""

from vllm_mock.output import OutputDelta, ParsedOutput
from vllm_mock.protocol.sse import Token
from vllm_mock.routes.openai.chat_stream import ChatStream


class ParsedChatStream(ChatStream):
    """As its base; each chunk has what the parsers make of its tokens, and tokens without such have no chunk."""

    def _chunk(self, choice: int, first: int, last: int, *, finished: bool) -> str:
        output = self._runs[choice].output
        assert output is not None
        if finished:
            return self._parsed_finish(choice, output, first, last)
        delta = output.deltas[last]
        shows_tokens = self._options.return_token_ids or self._options.logprobs
        if delta is None and (not shows_tokens or self._hides_tokens(choice)):
            return ""
        token = self._shown_token(choice, first, last)
        usage = self._running_usage(choice, output, last)
        return self._chunks.parsed(choice, delta or OutputDelta(), token.logprobs, token.token_ids, usage)

    def _parsed_finish(self, choice: int, output: ParsedOutput, first: int, last: int) -> str:
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
