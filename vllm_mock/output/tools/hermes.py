"""Calls as JSON objects between <tool_call> and </tool_call>."""

import json
import re
from collections.abc import Sequence
from typing import Any

from .base import Call, Found, ToolFormat, View, held_back

_BLOCK = re.compile(r"<tool_call>(.*?)</tool_call>|<tool_call>(.*)", re.DOTALL)
_NAME = re.compile(r'"name"\s*:\s*"([^"]+)"')
_ARGUMENTS = re.compile(r'"arguments"\s*:\s*(.*)', re.DOTALL)


class Hermes(ToolFormat):
    """`<tool_call>{"name": …, "arguments": {…}}</tool_call>`; what follows the first call is not shown."""

    null_content = True
    start = "<tool_call>"
    end = "</tool_call>"

    def write(self, calls: Sequence[tuple[str, dict[str, Any]]]) -> str:
        return "\n".join(
            f"{self.start}\n{json.dumps({'name': name, 'arguments': arguments}, ensure_ascii=False)}\n{self.end}"
            for name, arguments in calls
        )

    def whole(self, text: str, functions: Sequence[Any]) -> Found:
        before, marker, _ = text.partition(self.start)
        if not marker:
            return Found(text, [])
        try:
            calls = [_call(json.loads(closed or open_)) for closed, open_ in _BLOCK.findall(text)]
        except (ValueError, TypeError, KeyError, RecursionError):
            return Found(text, [])
        return Found(before if before.strip() else None, calls)

    def visible(self, text: str, functions: Sequence[Any]) -> View:
        first = text.find(self.start)
        if first < 0:
            return View(text[: len(text) - held_back(text, self.start)], [])
        calls: list[Call] = []
        position = first
        while position >= 0:
            start = position + len(self.start)
            end = text.find(self.end, start)
            call = self._unfinished(text[start:]) if end < 0 else _visible(text[start:end], closed=True)
            if call is None:
                break
            calls.append(call)
            position = text.find(self.start, end) if end >= 0 else -1
        return View(text[:first], calls)

    def _unfinished(self, block: str) -> Call | None:
        return _visible(block[: len(block) - held_back(block, self.end)])

    def plain_length(self, text: str) -> int:
        first = text.find("<")
        return len(text) if first < 0 else first


def _call(value: Any) -> Call:
    name, arguments = value["name"], value["arguments"]
    if not isinstance(name, str):
        raise TypeError(name)
    return name, json.dumps(arguments, ensure_ascii=False)


def _visible(block: str, *, closed: bool = False) -> Call | None:
    """The call of a block that may be unfinished: its name, and its arguments as far as they are written."""
    name = _NAME.search(block)
    if name is None:
        return None
    found = _ARGUMENTS.search(block)
    if found is None:
        return name[1], ""
    arguments = found[1].rstrip()
    if arguments.endswith("}") and (closed or _is_json(block)):
        # The brace that closes the call itself.
        arguments = arguments[:-1].rstrip()
    return name[1], arguments


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
