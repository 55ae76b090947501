"""Calls as a name and a JSON text between tokens that exist for that alone."""

import random
import re
import string
from collections.abc import Sequence
from typing import Any

from vllm_mock.output.text import held_back

from .base import Call, Found, ToolFormat
from .partial_json import dumps, value_end

_ID_CHARACTERS = string.ascii_letters + string.digits
_INDEX = re.compile(r":\d+$")


class Delimited(ToolFormat):
    """`SECTION START name SEPARATOR {…} STOP START … END`; `head` stands between START and the name."""

    begin = ""
    head = ""
    separator: str
    stop = ""
    finish = ""
    start: str
    tidies_content = False
    drops_unfinished = False

    @property
    def marker(self) -> str:  # type: ignore[override]
        return self.begin or self.start

    def write(self, calls: Sequence[tuple[str, Any]]) -> str:
        body = "".join(
            f"{self.start}{self.head}{self.written_name(name, index)}{self.separator}{dumps(arguments)}{self.stop}"
            for index, (name, arguments) in enumerate(calls)
        )
        return f"{self.begin}{body}{self.finish}"

    def written_name(self, name: str, index: int) -> str:
        """How the markup names a function."""
        return name

    def read_name(self, written: str) -> tuple[str, str | None]:
        """The function, and the call's id, of a name in the markup."""
        return written.removeprefix(self.head), None

    def whole(self, text: str, functions: Sequence[Any]) -> Found:
        before, marker, _ = text.partition(self.marker)
        if not marker:
            return Found(text, [])
        calls = self._calls(text[len(before) :])
        if self.drops_unfinished and calls and not text.rstrip().endswith((self.stop, self.finish)):
            del calls[-1]
        content = before.rstrip() if self.tidies_content else before
        return Found(content or None, calls)

    def visible(self, markup: str, functions: Sequence[Any]) -> list[Call]:
        return self._calls(markup)

    def _calls(self, text: str) -> list[Call]:
        calls = []
        position = text.find(self.start)
        while position >= 0:
            begin = position + len(self.start)
            name_end = text.find(self.separator, begin)
            following = text.find(self.start, begin)
            if name_end < 0 or 0 <= following < name_end:
                break
            name, call_id = self.read_name(text[begin:name_end])
            arguments = name_end + len(self.separator)
            calls.append(Call(name, self._arguments(text, arguments), call_id))
            position = text.find(self.start, value_end(text, arguments) if text[arguments : arguments + 1] else begin)
        return calls

    def _arguments(self, text: str, start: int) -> str:
        return text[start : value_end(text, start)].rstrip() if text.startswith("{", start) else ""


class DeepSeekV3(Delimited):
    """DeepSeek V3 and R1: the JSON text stands in a fenced block."""

    begin = "<｜tool▁calls▁begin｜>"
    start = "<｜tool▁call▁begin｜>"
    drops_unfinished = True
    head = "function<｜tool▁sep｜>"
    separator = "\n```json\n"
    stop = "\n```<｜tool▁call▁end｜>"
    finish = "<｜tool▁calls▁end｜>"


class DeepSeekV31(Delimited):
    """DeepSeek V3.1."""

    begin = "<｜tool▁calls▁begin｜>"
    start = "<｜tool▁call▁begin｜>"
    drops_unfinished = True
    separator = "<｜tool▁sep｜>"
    stop = "<｜tool▁call▁end｜>"
    finish = "<｜tool▁calls▁end｜>"


class KimiK2(Delimited):
    """Kimi K2: the name is part of the call's id."""

    begin = "<|tool_calls_section_begin|>"
    start = "<|tool_call_begin|>"
    joined_start = True
    separator = "<|tool_call_argument_begin|>"
    stop = "<|tool_call_end|>"
    finish = "<|tool_calls_section_end|>"

    def written_name(self, name: str, index: int) -> str:
        return f"functions.{name}:{index}"

    def read_name(self, written: str) -> tuple[str, str | None]:
        call_id = written.strip()
        return _INDEX.sub("", call_id).rpartition(".")[2], call_id


class Mistral(Delimited):
    """Mistral: a name, and the JSON text right behind it."""

    start = "[TOOL_CALLS]"
    separator = "{"
    joined_start = True
    tidies_content = True

    def write(self, calls: Sequence[tuple[str, Any]]) -> str:
        return "".join(f"{self.start}{name}{dumps(arguments)}" for name, arguments in calls)

    def read_name(self, written: str) -> tuple[str, str | None]:
        return written.removesuffix("[ARGS]"), None

    def _calls(self, text: str) -> list[Call]:
        calls = []
        for part in text.split(self.start)[1:]:
            name, brace, rest = part.partition(self.separator)
            if not brace:
                break
            arguments = brace + rest
            calls.append(Call(self.read_name(name)[0], arguments[: len(arguments) - held_back(arguments, self.start)]))
        return calls

    def new_id(self) -> str:
        """Mistral's templates accept nine letters and digits only."""
        return "".join(random.choices(_ID_CHARACTERS, k=9))
