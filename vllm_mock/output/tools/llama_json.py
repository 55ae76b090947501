"""Calls as bare JSON objects, as Llama models write them."""

import re
from collections.abc import Sequence
from typing import Any

from .base import Call, Found, ToolFormat
from .partial_json import dumps, objects, value_end

_NAME = re.compile(r'"name"\s*:\s*"([^"]+)"')
_ARGUMENTS = re.compile(r'"(?:parameters|arguments)"\s*:\s*(?=\{)')


class LlamaJson(ToolFormat):
    """`{"name": …, "parameters": {…}}; {…}`, perhaps behind <|python_tag|>.

    A whole answer may have them anywhere in a text, which is not shown then; a stream only at its beginning.
    """

    marker = "<|python_tag|>"
    shows_end = True
    held = False

    def write(self, calls: Sequence[tuple[str, Any]]) -> str:
        return "; ".join(dumps({"name": name, "parameters": arguments}) for name, arguments in calls)

    def whole(self, text: str, functions: Sequence[Any]) -> Found:
        calls = []
        for value in objects(text):
            arguments = value.get("arguments", value.get("parameters"))
            if not isinstance(value.get("name"), str) or arguments is None:
                return Found(text, [])
            calls.append(Call(value["name"], dumps(arguments)))
        return Found(None, calls) if calls else Found(text, [])

    def visible(self, markup: str, functions: Sequence[Any]) -> list[Call]:
        calls = []
        start = markup.find("{")
        while start >= 0:
            end = value_end(markup, start)
            call = _visible(markup[start:end])
            if call is None:
                break
            calls.append(call)
            start = markup.find("{", end)
        return calls

    def plain_length(self, text: str) -> int:
        return 0 if text.startswith(("{", self.marker)) else len(text)


def _visible(block: str) -> Call | None:
    name = _NAME.search(block)
    if name is None:
        return None
    found = _ARGUMENTS.search(block)
    if found is None:
        return Call(name[1], "")
    return Call(name[1], block[found.end() : value_end(block, found.end())].rstrip())
