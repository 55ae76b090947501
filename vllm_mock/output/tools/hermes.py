"""Calls as JSON objects between <tool_call> and </tool_call>."""

import json
import re
from collections.abc import Sequence
from typing import Any

from vllm_mock.output.text import held_back

from .base import Call, Found, ToolFormat
from .partial_json import dumps

_BLOCK = re.compile(r"<tool_call>(.*?)</tool_call>|<tool_call>(.*)", re.DOTALL)
_NAME = re.compile(r'"name"\s*:\s*"([^"]+)"')
_ARGUMENTS = re.compile(r'"arguments"\s*:\s*(.*)', re.DOTALL)


class Hermes(ToolFormat):
    """`<tool_call>{"name": …, "arguments": {…}}</tool_call>`; what follows the first call is not shown."""

    marker = "<tool_call>"
    end = "</tool_call>"
    null_content = True

    def write(self, calls: Sequence[tuple[str, Any]]) -> str:
        return "\n".join(
            f"{self.marker}\n{dumps({'name': name, 'arguments': arguments})}\n{self.end}" for name, arguments in calls
        )

    def whole(self, text: str, functions: Sequence[Any]) -> Found:
        before, marker, _ = text.partition(self.marker)
        if not marker:
            return Found(text, [])
        try:
            calls = [_call(json.loads(closed or open_)) for closed, open_ in _BLOCK.findall(text)]
        except (ValueError, TypeError, KeyError, RecursionError):
            return Found(text, [])
        return Found(before if before.strip() else None, calls)

    def visible(self, markup: str, functions: Sequence[Any]) -> list[Call]:
        calls: list[Call] = []
        position = markup.find(self.marker)
        while position >= 0:
            start = position + len(self.marker)
            end = markup.find(self.end, start)
            call = self._unfinished(markup[start:]) if end < 0 else _visible(markup[start:end], closed=True)
            if call is None:
                break
            calls.append(call)
            position = markup.find(self.marker, end) if end >= 0 else -1
        return calls

    def _unfinished(self, block: str) -> Call | None:
        return _visible(block[: len(block) - held_back(block, self.end)], closed=False)


def _call(value: Any) -> Call:
    name, arguments = value["name"], value["arguments"]
    if not isinstance(name, str):
        raise TypeError(name)
    return Call(name, dumps(arguments))


def _visible(block: str, *, closed: bool) -> Call | None:
    """The call of a block that may be unfinished: its name, and its arguments as far as they are written."""
    name = _NAME.search(block)
    if name is None:
        return None
    found = _ARGUMENTS.search(block)
    if found is None:
        return Call(name[1], "")
    arguments = found[1].rstrip()
    if arguments.endswith("}") and (closed or _is_json(block)):
        # The brace that closes the call itself.
        arguments = arguments[:-1].rstrip()
    return Call(name[1], arguments)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
