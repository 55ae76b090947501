"""Calls as elements with a parameter each, whose values get the types of the function's schema."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from vllm_mock.output.text import held_back

from .base import Call, Found, ToolFormat
from .partial_json import dumps
from .schema_types import parameter_types

_STRING = frozenset(("string",))


class Elements(ToolFormat):
    """`function` and `parameter` match what begins a call and a parameter, with the name as their group; their ends
    are plain text. `call_lines`, `parameter_lines` and `last_lines` are how a call is written, `begin` and `finish`
    what stands around all calls. `around_value` is no part of a value.
    """

    function: re.Pattern[str]
    function_end: str
    parameter: re.Pattern[str]
    parameter_end: str
    around_value = "\n"
    call_lines: tuple[str, ...]
    parameter_lines: str
    last_lines: tuple[str, ...]
    begin = ""
    finish = ""

    def write(self, calls: Sequence[tuple[str, Any]]) -> str:
        return self.begin + "\n".join(self._written(name, arguments) for name, arguments in calls) + self.finish

    def _written(self, name: str, arguments: Any) -> str:
        lines = [line.format(name=name) for line in self.call_lines]
        for key, value in arguments.items() if isinstance(arguments, dict) else ():
            text = value if isinstance(value, str) else dumps(value)
            lines.append(self.parameter_lines.replace("{key}", key).replace("{value}", text))
        return "\n".join([*lines, *self.last_lines])

    def whole(self, text: str, functions: Sequence[Any]) -> Found:
        first = self._first(text)
        if first < 0:
            return Found(text, [])
        return Found(text[:first].strip() or None, list(self._calls(text, functions, finished=True)))

    def visible(self, markup: str, functions: Sequence[Any]) -> list[Call]:
        return list(self._calls(markup, functions, finished=False))

    def plain_length(self, text: str) -> int:
        first = self._first(text)
        return len(text) if first < 0 else first

    def _first(self, text: str) -> int:
        """Where the markup begins: some models forget what stands around a call."""
        marker = text.find(self.marker)
        function = self.function.search(text)
        if function is None:
            return marker
        return function.start() if marker < 0 else min(marker, function.start())

    def _calls(self, text: str, functions: Sequence[Any], *, finished: bool) -> Iterator[Call]:
        for match in self.function.finditer(text):
            end = text.find(self.function_end, match.end())
            body = text[match.end() :] if end < 0 else text[match.end() : end]
            arguments = self._arguments(body, parameter_types(functions, match[1]), finished=finished)
            if end >= 0 or finished:
                arguments = arguments + "}" if arguments else "{}"
            yield Call(match[1], arguments)

    def _arguments(self, body: str, types: dict[str, frozenset[str]], *, finished: bool) -> str:
        """The JSON text of the parameters without its closing brace; of an unfinished one what is already certain."""
        pieces = []
        for match in self.parameter.finditer(body):
            end = body.find(self.parameter_end, match.end())
            kinds = types.get(match[1], _STRING)
            if end >= 0:
                value = _typed(self._trimmed(body[match.end() : end]), kinds)
            elif finished:
                break
            else:
                value = self._unfinished(body[match.end() :]) if kinds == _STRING else ""
            pieces.append(f"{dumps(match[1])}: {value}")
            if end < 0:
                break
        return "{" + ", ".join(pieces) if pieces else ""

    def _trimmed(self, value: str) -> str:
        return value.removeprefix(self.around_value).removesuffix(self.around_value)

    def _unfinished(self, value: str) -> str:
        """The beginning of a JSON string."""
        value = value.removeprefix(self.around_value)
        held = max(held_back(value, self.around_value + self.parameter_end), held_back(value, self.parameter_end))
        return dumps(value[: len(value) - held])[:-1]


class QwenXml(Elements):
    """Qwen3-Coder."""

    forces_json = True
    marker = "<tool_call>"
    function = re.compile(r"<function=([^>]*)>")
    function_end = "</function>"
    parameter = re.compile(r"<parameter=([^>]*)>")
    parameter_end = "</parameter>"
    call_lines = ("<tool_call>", "<function={name}>")
    parameter_lines = "<parameter={key}>\n{value}\n</parameter>"
    last_lines = ("</function>", "</tool_call>")


class SeedOss(QwenXml):
    """Seed-OSS: as Qwen3-Coder, with an outer tag of its own."""

    marker = "<seed:tool_call>"
    call_lines = ("<seed:tool_call>", "<function={name}>")
    last_lines = ("</function>", "</seed:tool_call>")


class Glm(Elements):
    """GLM-4.5 and later: keys and values take turns."""

    marker = "<tool_call>"
    function = re.compile(r"<tool_call>\s*([^\s<]+)(?=[\s<])")
    function_end = "</tool_call>"
    parameter = re.compile(r"<arg_key>(.*?)</arg_key>\s*<arg_value>")
    parameter_end = "</arg_value>"
    around_value = ""
    call_lines = ("<tool_call>{name}",)
    parameter_lines = "<arg_key>{key}</arg_key>\n<arg_value>{value}</arg_value>"
    last_lines = ("</tool_call>",)


class MiniMax(Elements):
    """MiniMax-M2 and later: all calls in one outer element."""

    marker = "<minimax:tool_call>"
    begin = "<minimax:tool_call>\n"
    finish = "\n</minimax:tool_call>"
    function = re.compile(r'<invoke name="([^"]*)">')
    function_end = "</invoke>"
    parameter = re.compile(r'<parameter name="([^"]*)">')
    parameter_end = "</parameter>"
    call_lines = ('<invoke name="{name}">',)
    parameter_lines = '<parameter name="{key}">{value}</parameter>'
    last_lines = ("</invoke>",)


def _typed(value: str, kinds: frozenset[str]) -> str:
    """The JSON text of a value: as a string only where the schema knows no other type, or the value fits none."""
    if kinds == _STRING:
        return dumps(value)
    try:
        return dumps(json.loads(value))
    except (ValueError, RecursionError):
        return dumps(value)
