"""Reads a Dockerfile and a .dockerignore, as far as this project's go."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_OPTION = re.compile(r"--([a-z-]+)=(\S+)\s+")
_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")


@dataclass
class Instruction:
    """One instruction: `options` are its --name=value, `text` what follows them on one line."""

    name: str
    text: str
    options: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name} {self.text}"

    def argv(self) -> list[str]:
        """The command line of a CMD or RUN: the exec form, or the shell form in a shell."""
        if self.text.startswith("["):
            return json.loads(self.text)
        return ["/bin/sh", "-c", self.text]

    def assignments(self) -> dict[str, str]:
        """The NAME=value pairs of an ARG, ENV or LABEL; a name alone is empty."""
        pairs = (word.partition("=") for word in shlex.split(self.text))
        return {name: value for name, _, value in pairs}


@dataclass
class Stage:
    """FROM `base` AS `name`, and the instructions after it."""

    base: str
    name: str
    steps: list[Instruction] = field(default_factory=list)

    def last(self, name: str) -> Instruction:
        """The instruction of that name that counts."""
        return [step for step in self.steps if step.name == name][-1]


def instructions(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile, continued lines joined and comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [_instruction(line) for line in whole.splitlines() if line.strip()]


def _instruction(line: str) -> Instruction:
    name, _, text = line.strip().partition(" ")
    options = {}
    text = text.strip()
    while name != "RUN" and (match := _OPTION.match(text)):
        options[match[1]] = match[2]
        text = text[match.end() :].lstrip()
    if name == "HEALTHCHECK":
        text = text.removeprefix("CMD").lstrip()
    return Instruction(name, text, options)


def stages(text: str) -> tuple[dict[str, str], list[Stage]]:
    """The arguments before the first FROM with their defaults, and the stages."""
    arguments: dict[str, str] = {}
    found: list[Stage] = []
    for one in instructions(text):
        if one.name == "FROM":
            base, *name = one.text.split()
            found.append(Stage(base, name[1] if name else ""))
        elif found:
            found[-1].steps.append(one)
        else:
            arguments |= one.assignments()
    return arguments, found


def expanded(text: str, values: Mapping[str, str]) -> str:
    """`text` with $NAME and ${NAME} replaced; an unknown name is empty."""
    return _VARIABLE.sub(lambda match: values.get(match[1] or match[2], ""), text)


def ignored(path: str, patterns: list[str]) -> bool:
    """Whether a .dockerignore of these lines leaves out `path`, relative to the context; the last match decides."""
    verdict = False
    for pattern in patterns:
        negated = pattern.startswith("!")
        if any(re.fullmatch(_expression(pattern.lstrip("!")), part) for part in _with_parents(path)):
            verdict = not negated
    return verdict


def _with_parents(path: str) -> list[str]:
    return [path, *(str(parent) for parent in Path(path).parents if str(parent) != ".")]


def _expression(pattern: str) -> str:
    parts = re.split(r"(\*\*/|\*|\?)", pattern)
    return "".join({"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}.get(part, re.escape(part)) for part in parts)


def patterns(text: str) -> list[str]:
    """The lines of a .dockerignore that say something."""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
