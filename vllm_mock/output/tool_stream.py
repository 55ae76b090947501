"""What each token of a streamed answer shows of its tool calls."""

from collections.abc import Sequence
from typing import Any

from .result import OutputDelta, ToolCallDelta
from .text import held_back
from .tools import Call, ToolFormat


class ToolStream:
    """The deltas of one text, asked for from its beginning to its end."""

    def __init__(self, form: ToolFormat, text: str, functions: Sequence[Any], parallel: bool) -> None:
        self._format = form
        self._text = text
        self._functions = functions
        self._parallel = parallel
        self._plain = form.plain_length(text)
        self._shown = 0
        self._arguments: list[int] = []

    def advance(self, start: int, end: int) -> OutputDelta | None:
        """What the characters start..end-1 add; None for nothing."""
        if end <= self._plain:
            return self._content(start, end)
        content = self._text[self._shown : self._plain] or None
        self._shown = self._plain
        found = self._format.visible(self._text[self._plain : end], self._functions)
        calls = [part for index, call in enumerate(found) for part in self._call(index, call)]
        if not self._parallel:
            dropped = bool(calls)
            calls = [call for call in calls if call.index == 0]
            if dropped and not calls and content is None:
                return OutputDelta(null_content=True)
        if content is None and not calls:
            return None
        return OutputDelta(content=content, tool_calls=calls, null_content=self._format.null_content and bool(calls))

    def _content(self, start: int, end: int) -> OutputDelta | None:
        """What characters before the markup show."""
        marker = self._format.marker
        tail = self._text[max(0, end - len(marker)) : end]
        certain = end - held_back(tail, marker) if self._format.held else end
        text = self._text[self._shown : certain]
        self._shown = max(self._shown, certain)
        return OutputDelta(content=text) if text or (start == end and self._format.shows_end) else None

    def _call(self, index: int, call: Call) -> list[ToolCallDelta]:
        if index > len(self._arguments):
            return []  # the one before has not begun yet
        begins = index == len(self._arguments)
        if begins and self._format.joined_start and not call.arguments:
            return []
        sent = 0 if begins else self._arguments[index]
        added = call.arguments[sent:] or None
        parts = []
        if begins:
            self._arguments.append(0)
            first = ToolCallDelta(index, call.id or self._format.new_id(), call.name)
            if self._format.joined_start:
                first.arguments, added = added, None
            parts.append(first)
        elif added is None and self._format.marks_end:
            added = ""
        if added is not None:
            parts.append(ToolCallDelta(index, arguments=added))
        self._arguments[index] = max(sent, len(call.arguments))
        return parts
