"""The events of a streamed response: items begin, grow and end as the tokens of reasoning, text and calls come."""

from collections.abc import Callable
from typing import Any

from vllm_mock.output import OutputDelta
from vllm_mock.protocol.json_text import compact, to_bytes
from vllm_mock.routes.openai import response_object as objects
from vllm_mock.routes.openai.runs import Run


def event_bytes(kind: str, fields: dict[str, Any], number: int) -> bytes:
    """One event; the keys of its data in alphabetical order, as the openai package's types declare them."""
    data = {**fields, "sequence_number": number, "type": kind}
    return to_bytes(f"event: {kind}\ndata: {compact(data)}\n\n")


class ResponseStream:
    """Renders the events of one response. `finish` makes the finished response of the output items."""

    def __init__(
        self,
        run: Run,
        response: dict[str, Any],
        top_logprobs: int,
        finish: Callable[[list[objects.Item]], dict[str, Any]],
    ) -> None:
        self._run = run
        self._response = response
        self._top = top_logprobs
        self._finish = finish
        self._number = 0
        self._items: list[objects.Item] = []
        # The kind of the item that is open, its id, and its text so far.
        self._kind = ""
        self._id = ""
        self._text = ""
        self._first_token = 0
        self._call: tuple[str, str] = ("", "")

    def opening(self) -> bytes:
        """The events that come before any token."""
        fields = {"response": self._response}
        return self._event("response.created", fields) + self._event("response.in_progress", fields)

    def render(self, choice: int, start: int, end: int) -> bytes:
        """The events of the tokens start..end-1."""
        return b"".join(self._token(position) for position in range(start, min(end, len(self._run.plan.token_ids))))

    def end(self) -> bytes:
        """The end of the open item and of the response."""
        closing = self._close(objects.message_status(self._run))
        response = self._finish(self._items)
        kind = {"incomplete": "response.incomplete", "cancelled": "response.cancelled"}.get(response["status"])
        return closing + self._event(kind or "response.completed", {"response": response})

    def _event(self, kind: str, fields: dict[str, Any]) -> bytes:
        self._number += 1
        return event_bytes(kind, fields, self._number - 1)

    def _token(self, position: int) -> bytes:
        output = self._run.output
        if output is None:
            return self._content(self._run.plan.deltas[position], position)
        delta = output.deltas[position] if position < len(output.deltas) else None
        return b"" if delta is None else self._delta(delta, position)

    def _delta(self, delta: OutputDelta, position: int) -> bytes:
        events = self._reasoning(delta.reasoning) if delta.reasoning else b""
        if delta.content:
            events += self._content(delta.content, position)
        for call in delta.tool_calls:
            if call.id is not None:
                events += self._begin_call(call.id, call.name or "")
            if call.arguments:
                events += self._arguments(call.arguments)
        return events

    def _reasoning(self, text: str) -> bytes:
        events = b""
        if self._kind != "reasoning":
            events = self._open("reasoning", "rs", lambda new: objects.reasoning_item(new, None, "in_progress"))
            events += self._part("added", {"text": "", "type": "reasoning_text"})
        self._text += text
        fields = {"content_index": 0, "delta": text, "item_id": self._id, "output_index": len(self._items)}
        return events + self._event("response.reasoning_text.delta", fields)

    def _content(self, text: str, position: int) -> bytes:
        if not text:
            return b""
        events = b""
        if self._kind != "message":
            events = self._open("message", "msg", lambda new: objects.message_item(new, None, None, "in_progress"))
            events += self._part("added", objects.text_part("", []))
            self._first_token = position
        self._text += text
        entries = self._run.plan.logprobs
        shown = None if entries is None else entries[position : position + 1]
        fields = {
            "content_index": 0,
            "delta": text,
            "item_id": self._id,
            "logprobs": objects.logprob_entries(shown, self._top, with_bytes=False) or [],
            "output_index": len(self._items),
        }
        return events + self._event("response.output_text.delta", fields)

    def _begin_call(self, call_id: str, name: str) -> bytes:
        self._call = (call_id, name)
        events = self._open("call", "fc", lambda new: objects.call_item(new, call_id, name, "", "in_progress"))
        self._call = (call_id, name)
        return events

    def _arguments(self, text: str) -> bytes:
        self._text += text
        fields = {"delta": text, "item_id": self._id, "output_index": len(self._items)}
        return self._event("response.function_call_arguments.delta", fields)

    def _open(self, kind: str, prefix: str, item: Callable[[str], objects.Item]) -> bytes:
        """Ends the item before, and begins one."""
        events = self._close("completed")
        self._kind, self._id, self._text = kind, objects.new_id(prefix), ""
        fields = {"item": item(self._id), "output_index": len(self._items)}
        return events + self._event("response.output_item.added", fields)

    def _part(self, what: str, part: dict[str, Any]) -> bytes:
        fields = {"content_index": 0, "item_id": self._id, "output_index": len(self._items), "part": part}
        return self._event(f"response.content_part.{what}", fields)

    def _close(self, status: str) -> bytes:
        """The end of the open item, if there is one."""
        kind, self._kind = self._kind, ""
        if not kind:
            return b""
        index, text = len(self._items), self._text
        if kind == "call":
            call_id, name = self._call
            fields = {"arguments": text, "item_id": self._id, "output_index": index}
            events = self._named_event("response.function_call_arguments.done", fields, name)
            item = objects.call_item(self._id, call_id, name, text, "completed")
        elif kind == "reasoning":
            fields = {"content_index": 0, "item_id": self._id, "output_index": index}
            events = self._text_event("response.reasoning_text.done", fields, text)
            events += self._part("done", {"text": text, "type": "reasoning_text"})
            item = objects.reasoning_item(self._id, text, status)
        else:
            fields = {"content_index": 0, "item_id": self._id, "logprobs": [], "output_index": index}
            events = self._text_event("response.output_text.done", fields, text)
            logprobs = objects.logprob_entries(self._message_logprobs(), self._top)
            events += self._part("done", objects.text_part(text, logprobs))
            item = objects.message_item(self._id, text, logprobs, status)
        done = self._event("response.output_item.done", {"item": item, "output_index": index})
        self._items.append(item)
        return events + done

    def _message_logprobs(self) -> Any:
        entries = self._run.plan.logprobs
        return None if entries is None else entries[self._first_token :]

    def _text_event(self, kind: str, fields: dict[str, Any], text: str) -> bytes:
        """The text stands between the number and the type."""
        return self._late_field(kind, fields, {"text": text}, {})

    def _named_event(self, kind: str, fields: dict[str, Any], name: str) -> bytes:
        """The name stands at the end, where openai's type declares it."""
        return self._late_field(kind, fields, {}, {"name": name})

    def _late_field(self, kind: str, fields: dict[str, Any], before: dict[str, Any], behind: dict[str, Any]) -> bytes:
        data = {**fields, "sequence_number": self._number, **before, "type": kind, **behind}
        self._number += 1
        return to_bytes(f"event: {kind}\ndata: {compact(data)}\n\n")
