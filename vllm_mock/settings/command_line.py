"""The command line in vLLM's syntax: words to flags with their words."""

import json
import re
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from . import catalogue
from .errors import SettingsError
from .flag import Flag
from .kinds import parse_json

_NEGATIVE_NUMBER = re.compile(r"-\.?\d")


class Given(NamedTuple):
    """A flag with the words that were given for it; source says where, to begin an error line with."""

    flag: Flag
    words: list[str]
    source: str


class CommandLine:
    """What a command line holds. model: the positional argument. config: path of the YAML file."""

    def __init__(self) -> None:
        self.given: list[Given] = []
        self.model: str | None = None
        self.config: str | None = None
        self.help = False


def parse(argv: Sequence[str]) -> CommandLine:
    """Read `argv`, without the program's name. SettingsError for an unknown flag or a missing value."""
    return _Parser(argv).parse()


class _Parser:
    def __init__(self, argv: Sequence[str]) -> None:
        self.rest = deque(argv)
        self.found = CommandLine()
        # Object per flag that is filled key by key; it replaces a JSON text of the same flag, as in vLLM.
        self.dotted: dict[str, tuple[Flag, str, dict[str, Any]]] = {}

    def parse(self) -> CommandLine:
        while self.rest:
            word = self.rest.popleft()
            if word == "--":
                self._take_models()
            elif _is_flag(word):
                self._take_flag(word)
            else:
                self._take_model(word)
        for flag, name, value in self.dotted.values():
            self.found.given.append(Given(flag, [json.dumps(value)], name))
        return self.found

    def _take_models(self) -> None:
        while self.rest:
            self._take_model(self.rest.popleft())

    def _take_model(self, word: str) -> None:
        if self.found.model is not None:
            raise SettingsError(f"unexpected argument {word!r}: the model is {self.found.model!r} already")
        self.found.model = word

    def _take_flag(self, word: str) -> None:
        written, equals, value = word.partition("=")
        name, dot, path = written.partition(".")
        if name.startswith("--"):
            name = name.replace("_", "-")
        match = catalogue.find(name)
        if match is None and word[:2] in catalogue.names() and not word.startswith("--"):
            match, equals, value = catalogue.find(word[:2]), "=", word[2:]  # -n2, -O3
            name, dot = word[:2], ""
        if match is None or (dot and not match[0].kind.is_json):
            raise SettingsError(f"unknown flag {written}; the nearest known one is {catalogue.nearest_flag(name)}")
        flag, on = match
        if dot:
            self._take_key(flag, name, path, value if equals else self._one_word(written))
        elif flag.kind.takes == "none":
            self._take_switch(flag, name, on, equals)
        else:
            words = [value] if equals else self._words(flag, name)
            if words:
                self._store(flag, name, words)

    def _take_switch(self, flag: Flag, name: str, on: bool, equals: str) -> None:
        if equals:
            hint = f"; {flag.negations[0]} switches it off" if on and flag.negations else ""
            raise SettingsError(f"{name} takes no value{hint}")
        if flag is catalogue.HELP:
            self.found.help = True
        else:
            self._store(flag, name, ["true" if on else "false"])

    def _store(self, flag: Flag, name: str, words: list[str]) -> None:
        if flag is catalogue.CONFIG:
            if self.found.config is not None:
                raise SettingsError("--config can be given only once")
            self.found.config = words[0]
        else:
            self.found.given.append(Given(flag, words, name))

    def _take_key(self, flag: Flag, name: str, path: str, value: str) -> None:
        _, _, target = self.dotted.setdefault(flag.dest, (flag, name, {}))
        *parents, last = path.split(".")
        for key in parents:
            target = target.setdefault(key, {})
            if not isinstance(target, dict):
                raise SettingsError(f"{name}.{path}: {key} has a value already")
        if last.endswith("+"):
            items = target.setdefault(last.removesuffix("+"), [])
            if not isinstance(items, list):
                raise SettingsError(f"{name}.{path}: {last.removesuffix('+')} has a value already")
            items.extend(value.split(","))
        else:
            target[last] = _json_or_text(value)

    def _one_word(self, name: str) -> str:
        if not self.rest or _is_flag(self.rest[0]):
            raise SettingsError(f"{name} needs a value")
        return self.rest.popleft()

    def _words(self, flag: Flag, name: str) -> list[str]:
        if flag.kind.takes == "one":
            return [self._one_word(name)]
        if flag.kind.takes == "maybe":
            return [self.rest.popleft()] if self.rest and not _is_flag(self.rest[0]) else []
        words = [self._one_word(name)]
        while self.rest and not _is_flag(self.rest[0]):
            words.append(self.rest.popleft())
        return words


def _is_flag(word: str) -> bool:
    """Whether a word starts a flag; negative numbers, a lone dash and phrases are values."""
    if not word.startswith("-") or len(word) == 1 or _NEGATIVE_NUMBER.match(word):
        return False
    return " " not in word.partition("=")[0]


def _json_or_text(value: str) -> Any:
    try:
        return parse_json(value)
    except ValueError:
        return value
