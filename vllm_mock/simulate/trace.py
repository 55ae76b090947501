"""What a trace holds: when requests come, and how many tokens they have."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any


class TraceError(Exception):
    """A line of a trace that cannot be used; the text is one line."""


@dataclass(slots=True, frozen=True)
class TraceRequest:
    """One request. `arrival` is in seconds from the start of the trace.

    Of the prompt, the first `prefix_tokens` tokens are those of `prefix_id`: requests that name the same one share
    them. With neither, no other request has the same prompt. `lora` names an adapter, `id` is shown in the results.
    """

    arrival: float
    prompt_tokens: int
    output_tokens: int
    prefix_id: str | int | None = None
    prefix_tokens: int = 0
    priority: int = 0
    lora: str | None = None
    id: str | int | None = None

    def __post_init__(self) -> None:
        for name in ("prompt_tokens", "output_tokens"):
            if getattr(self, name) < 1:
                raise TraceError(f"{name} must be 1 or more")
        if not 0 <= self.arrival < float("inf"):
            raise TraceError("arrival must be 0 or more seconds")
        if not 0 <= self.prefix_tokens <= self.prompt_tokens:
            raise TraceError("prefix_tokens must be from 0 to prompt_tokens")
        if self.prefix_tokens and self.prefix_id is None:
            raise TraceError("prefix_tokens need a prefix_id")


_INTEGERS = ("prompt_tokens", "output_tokens", "prefix_tokens", "priority")
_KNOWN = tuple(field.name for field in fields(TraceRequest))


def read_trace(lines: Iterable[str]) -> list[TraceRequest]:
    """The requests of a JSONL file, in the order of their arrival. Raises TraceError that names the line."""
    return sorted(_read(lines), key=lambda request: request.arrival)


def _read(lines: Iterable[str]) -> Iterator[TraceRequest]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield _request(json.loads(line))
            except (TraceError, ValueError, TypeError) as error:
                raise TraceError(f"line {number}: {error}") from None


def _request(found: Any) -> TraceRequest:
    if not isinstance(found, Mapping):
        raise TraceError("expected a JSON object")
    if unknown := sorted(found.keys() - set(_KNOWN)):
        raise TraceError(f"unknown key {unknown[0]!r}; known are {', '.join(_KNOWN)}")
    if missing := [name for name in _KNOWN[:3] if name not in found]:
        raise TraceError(f"{missing[0]} is missing")
    for name in _INTEGERS:
        if type(found.get(name, 0)) is not int:
            raise TraceError(f"{name} must be an integer")
    if type(found["arrival"]) not in (int, float):
        raise TraceError("arrival must be a number of seconds")
    return TraceRequest(**found)
