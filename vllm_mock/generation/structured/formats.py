"""Strings of the formats that JSON schemas name."""

import base64
import uuid
from collections.abc import Callable
from typing import NamedTuple

from vllm_mock.generation.draws import Draws

from . import words


class Format(NamedTuple):
    """How to make a string of a format, and the shortest one."""

    make: Callable[[Draws], str]
    shortest: str


def _uuid(draws: Draws) -> str:
    return str(uuid.UUID(int=draws.bits() << 64 | draws.bits(), version=4))


def _ipv4(draws: Draws) -> str:
    return ".".join(str(draws.between(1, 254)) for _ in range(4))


def _ipv6(draws: Draws) -> str:
    return "2001:db8:" + ":".join(f"{draws.between(1, 0xFFFF):x}" for _ in range(6))


def _duration(draws: Draws) -> str:
    return f"P{draws.between(1, 9)}DT{draws.between(1, 23)}H{draws.between(1, 59)}M"


def _time(draws: Draws) -> str:
    return words.clock(draws) + "Z"


def base64_text(draws: Draws) -> str:
    """A few words in base64."""
    return base64.b64encode(words.words(draws).encode()).decode()


_WORD = Format(words.word, "a")
FORMATS: dict[str, Format] = {
    "date-time": Format(lambda draws: f"{words.date(draws)}T{_time(draws)}", "2026-01-01T00:00:00Z"),
    "date": Format(words.date, "2026-01-01"),
    "time": Format(_time, "00:00:00Z"),
    "duration": Format(_duration, "P1D"),
    "email": Format(words.email, "a@b.co"),
    "idn-email": Format(words.email, "a@b.co"),
    "hostname": Format(lambda draws: f"{words.word(draws)}.example.com", "a.co"),
    "idn-hostname": Format(lambda draws: f"{words.word(draws)}.example.com", "a.co"),
    "ipv4": Format(_ipv4, "1.1.1.1"),
    "ipv6": Format(_ipv6, "::1"),
    "uri": Format(words.url, "http://a.co"),
    "iri": Format(words.url, "http://a.co"),
    "uri-reference": Format(lambda draws: f"/{words.word(draws)}/{words.word(draws)}", "/a"),
    "iri-reference": Format(lambda draws: f"/{words.word(draws)}/{words.word(draws)}", "/a"),
    "uri-template": Format(lambda draws: f"/{words.word(draws)}/{{id}}", "/a"),
    "url": Format(words.url, "http://a.co"),
    "uuid": Format(_uuid, "00000000-0000-4000-8000-000000000000"),
    "json-pointer": Format(lambda draws: f"/{words.word(draws)}/{words.word(draws)}", "/a"),
    "relative-json-pointer": Format(lambda draws: f"{draws.between(0, 3)}/{words.word(draws)}", "0"),
    "regex": Format(lambda draws: f"^{words.word(draws)}$", "a"),
    "byte": Format(base64_text, "YQ=="),
    "binary": _WORD,
    "password": Format(words.identifier, "a"),
}
