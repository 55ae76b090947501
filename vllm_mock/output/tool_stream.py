"""What each token of a streamed answer shows of its tool calls."""

import os
from collections.abc import Sequence
from typing import Any

from .result import OutputDelta, ToolCallDelta
from .tools import ToolFormat


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
            self._shown = end
            return OutputDelta(content=self._text[start:end]) if start < end else None
        view = self._format.visible(self._text[:end], self._functions)
        content = view.content[self._shown :] or None
        self._shown = max(self._shown, len(view.content))
        calls = [part for index, call in enumerate(view.calls) for part in self._call(index, *call)]
        if not self._parallel:
            dropped = bool(calls)
            calls = [call for call in calls if call.index == 0]
            if dropped and not calls and content is None:
                return OutputDelta(null_content=True)
        if content is None and not calls:
            return None
        return OutputDelta(content=content, tool_calls=calls, null_content=self._format.null_content and bool(calls))

    def _call(self, index: int, name: str, arguments: str) -> list[ToolCallDelta]:
        parts = []
        if index == len(self._arguments):
            self._arguments.append(0)
            parts.append(
                ToolCallDelta(index, f"chatcmpl-tool-{os.urandom(8).hex()}", name, self._format.first_arguments)
            )
        sent = self._arguments[index]
        if len(arguments) > sent:
            parts.append(ToolCallDelta(index, arguments=arguments[sent:]))
            self._arguments[index] = len(arguments)
        return parts
