"""Demanded calls of parsers without a markup of their own for these: vLLM makes the model write JSON."""

import json
import re
from collections.abc import Sequence
from typing import Any

from .base import Call, Found, ToolFormat
from .partial_json import dumps, value_end

_NAME = re.compile(r'"name"\s*:\s*"([^"]*)"')
_PARAMETERS = re.compile(r'"parameters"\s*:\s*(?=\{)')


class ForcedList(ToolFormat):
    """tool_choice "required": `[{"name": …, "parameters": {…}}]`; anything else shows nothing."""

    marker = "["
    joined_start = True

    def write(self, calls: Sequence[tuple[str, Any]]) -> str:
        return dumps([{"name": name, "parameters": arguments} for name, arguments in calls])

    def whole(self, text: str, functions: Sequence[Any]) -> Found:
        try:
            return Found("", [Call(str(call["name"]), dumps(call["parameters"])) for call in json.loads(text)])
        except (ValueError, TypeError, KeyError, RecursionError):
            return Found("", [])

    def visible(self, markup: str, functions: Sequence[Any]) -> list[Call]:
        calls = []
        start = markup.find("{")
        while start >= 0:
            end = value_end(markup, start)
            block = markup[start:end]
            name, parameters = _NAME.search(block), _PARAMETERS.search(block)
            if name is None or parameters is None:
                break
            calls.append(Call(name[1], block[parameters.end() : value_end(block, parameters.end())]))
            start = markup.find("{", end)
        return calls

    def plain_length(self, text: str) -> int:
        return 0


class ForcedArguments(ToolFormat):
    """A named function: the text is its arguments, whatever it says."""

    joined_start = True
    marks_end = True

    def __init__(self, name: str) -> None:
        self._name = name

    def write(self, calls: Sequence[tuple[str, Any]]) -> str:
        return dumps(calls[0][1])

    def whole(self, text: str, functions: Sequence[Any]) -> Found:
        return Found("", [Call(self._name, text)] if text else [])

    def visible(self, markup: str, functions: Sequence[Any]) -> list[Call]:
        return [Call(self._name, markup)] if markup else []

    def plain_length(self, text: str) -> int:
        return 0
