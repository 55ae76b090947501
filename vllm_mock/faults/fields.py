"""Which fields a fault rule has and what may be in them: refusals name the valid ones."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

_HEADER_NAME = re.compile(r"[!#-'*+\-.0-9A-Z^_`a-z|~]+").fullmatch
_HEADER_VALUE = re.compile(r"[ \t\x21-\x7e\x80-\xff]*").fullmatch
# The server writes these itself; a second one would break the answer's framing.
_FRAMING = frozenset(("connection", "content-length", "transfer-encoding"))

Check = Callable[[Any], bool]
Field = tuple[Check, str]
"""Whether a value will do, and what would, to complete "expected ..."."""


class FaultError(Exception):
    """A rule that cannot be; the message names the rule, the field and what is valid."""


def check_fields(place: str, value: Any, fields: Mapping[str, Field], required: tuple[str, ...] = ()) -> dict[str, Any]:
    """The object without its nulls, if every key is known and every value will do; raises FaultError."""
    if not isinstance(value, dict):
        raise FaultError(f"{place}: expected an object with the keys {', '.join(fields)}")
    for key, given in value.items():
        if key not in fields:
            raise FaultError(f"{place}: unknown key {key!r}; valid keys: {', '.join(fields)}")
        fits, expected = fields[key]
        if given is not None and not fits(given):
            raise FaultError(f"{place}.{key}: {_short(given)} is not possible; expected {expected}")
    present = {key: given for key, given in value.items() if given is not None}
    for key in required:
        if key not in present:
            raise FaultError(f"{place}: the key {key!r} is missing; expected {fields[key][1]}")
    return present


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "..."


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= 1e9 and math.isfinite(value)


def number(least: float, most: float, expected: str) -> Field:
    """A number from `least` to `most`."""
    return lambda value: _is_number(value) and least <= value <= most, expected


def integer(least: int, most: int, expected: str) -> Field:
    """A whole number from `least` to `most`."""
    return lambda value: isinstance(value, int) and _is_number(value) and least <= value <= most, expected


def one_of(*words: str) -> Field:
    """One of these texts."""
    return lambda value: isinstance(value, str) and value in words, "one of " + ", ".join(words)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 1000


def _are_texts(value: Any) -> bool:
    return _is_text(value) or (isinstance(value, list) and bool(value) and all(map(_is_text, value)))


def _are_numbers(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return bool(values) and all(isinstance(one, int) and _is_number(one) and one >= 1 for one in values)


def _are_wanted_headers(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _HEADER_NAME(name) and (wanted is None or isinstance(wanted, str)) for name, wanted in value.items()
    )


def _are_headers(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _HEADER_NAME(name) and name.lower() not in _FRAMING and isinstance(text, str) and _HEADER_VALUE(text)
        for name, text in value.items()
    )


def _is_rate_limit(value: Any) -> bool:
    known = ("limit", "remaining", "reset")
    return isinstance(value, dict) and all(key in known and _is_number(given) for key, given in value.items())


TEXT: Field = (_is_text, "a text of 1 to 1000 characters")
TEXTS: Field = (_are_texts, "a text or a list of texts; * stands for any characters")
SWITCH: Field = (lambda value: isinstance(value, bool), "true or false")
NUMBERS: Field = (_are_numbers, "a number from 1 on, or a list of them")
WANTED_HEADERS: Field = (_are_wanted_headers, "an object of texts by header name; null: the header is not there")
HEADERS: Field = (_are_headers, "an object of texts by header name, none of them about the framing")
RATE_LIMIT: Field = (_is_rate_limit, "an object of the numbers limit, remaining and reset (seconds)")
SECONDS = number(0, 86_400, "seconds from 0 to 86400")
TOKENS = integer(0, 10**9, "a number of tokens")
OBJECT: Field = (lambda value: isinstance(value, dict), "an object")
ANYTHING: Field = (lambda value: True, "anything")
