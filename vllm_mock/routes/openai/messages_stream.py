"""Renders a streamed answer of the Messages API from planned tokens."""

from typing import Any

from vllm_mock.output import OutputDelta
from vllm_mock.protocol.anthropic import errors
from vllm_mock.protocol.anthropic import response as anthropic
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.json_text import quote, to_bytes
from vllm_mock.routes.openai.answer import AnswerOptions, final_usage
from vllm_mock.routes.openai.runs import Run

_DELTAS = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_use": ("input_json_delta", "partial_json"),
}


class MessagesStream:
    """The events of one stream: at any time at most one content block is open."""

    def __init__(self, run: Run, options: AnswerOptions, response_id: str, model: str) -> None:
        self._run = run
        self._options = options
        self._start = anthropic.message_start(response_id, model, len(run.prompt.token_ids))
        self._begun = False
        self._index = -1
        self._open: str | None = None  # the type of the open block
        self._parts = ("", "")
        self._calls_tools = False

    def render(self, choice: int, start: int, end: int) -> bytes:
        """The events of the tokens start..end-1; before the first of all comes message_start."""
        events = []
        if not self._begun:
            self._begun = True
            events.append(self._start)
        last = len(self._run.plan.token_ids) - 1
        for first, position in self._options.flushes(start, end, last):
            events += self._events(first, position)
        return to_bytes("".join(events))

    def end(self) -> bytes:
        """The end of the open block and of the message."""
        events = self._close()
        usage = final_usage([self._run], self._options, chat=True)
        return to_bytes("".join([*events, anthropic.message_end(self._ending(), usage)]))

    def error(self, error: ApiError) -> bytes:
        """The end of the open block, and the error that broke off the message."""
        return to_bytes("".join(self._close())) + errors.event(error)

    def _ending(self) -> anthropic.Ending:
        plan, output = self._run.plan, self._run.output
        finish_reason = plan.finish_reason if output is None else output.finish_reason
        return anthropic.Ending(finish_reason, plan.stop_reason, self._calls_tools)

    def _events(self, first: int, last: int) -> list[str]:
        output = self._run.output
        if output is None:
            text = "".join(self._run.plan.deltas[first : last + 1])
            return self._say("text", text) if text else []
        delta = output.deltas[last]
        return [] if delta is None else self._parsed(delta)

    def _parsed(self, delta: OutputDelta) -> list[str]:
        events = []
        if delta.reasoning:
            events += self._say("thinking", delta.reasoning)
        if delta.content:
            events += self._say("text", delta.content)
        for call in delta.tool_calls:
            if call.id is not None:
                self._calls_tools = True
                block: dict[str, Any] = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
                events += self._switch("tool_use", block)
            if call.arguments and self._open == "tool_use":
                events.append(self._delta(call.arguments))
        return events

    def _say(self, kind: str, text: str) -> list[str]:
        events = [] if self._open == kind else self._switch(kind, {"type": kind, kind: ""})
        return [*events, self._delta(text)]

    def _switch(self, kind: str, block: dict[str, Any]) -> list[str]:
        """Close the open block and begin another."""
        events = self._close()
        self._index += 1
        self._open = kind
        self._parts = anthropic.block_delta_parts(self._index, *_DELTAS[kind])
        return [*events, anthropic.block_start(self._index, block)]

    def _close(self) -> list[str]:
        if self._open is None:
            return []
        events = []
        if self._open == "thinking":
            before, after = anthropic.block_delta_parts(self._index, "signature_delta", "signature")
            events.append(f'{before}"{anthropic.signature()}"{after}')
        self._open = None
        return [*events, anthropic.block_stop(self._index)]

    def _delta(self, text: str) -> str:
        before, after = self._parts
        return f"{before}{quote(text)}{after}"
