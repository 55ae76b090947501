"""Kinds of values: how the text of a flag, an environment variable or a YAML key becomes a typed value."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from .errors import Refused

Takes = Literal["none", "one", "maybe", "many"]
"""How many words follow the flag: none (a switch), one, at most one, or one and more."""

_DECIMAL_SUFFIXES = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_SUFFIXES = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})


class Kind(NamedTuple):
    """A sort of value.

    convert: the given words to the typed value; raises ValueError when they do not fit.
    expected: what fits, to complete "expected ..." in an error line.
    metavar: the placeholder in help texts.
    is_json: whether `--flag.key value` may fill the object key by key.
    unit: the unit of a plain number, as the documentation names it.
    """

    convert: Callable[[Sequence[str]], Any]
    expected: str
    metavar: str
    takes: Takes = "one"
    is_json: bool = False
    unit: str = ""


def single(parse: Callable[[str], Any], expected: str, metavar: str, *, is_json: bool = False, unit: str = "") -> Kind:
    """A kind of exactly one word."""
    return Kind(lambda words: parse(words[0]), expected, metavar, is_json=is_json, unit=unit)


def many(kind: Kind) -> Kind:
    """One or more words of `kind`; the value is a list."""
    return Kind(
        lambda words: [kind.convert([word]) for word in words],
        kind.expected,
        kind.metavar,
        "many",
        unit=kind.unit,
    )


def optional(kind: Kind, absent: Any = None) -> Kind:
    """`kind`, or `absent` for an empty text or the word None, as vLLM's optional flags have it."""

    def convert(words: Sequence[str]) -> Any:
        return absent if words[0] in ("", "None") else kind.convert(words)

    return Kind(convert, f"{kind.expected}, or None", kind.metavar, is_json=kind.is_json, unit=kind.unit)


def _boolean(text: str) -> bool:
    lowered = text.lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise ValueError


SWITCH = Kind(lambda words: _boolean(words[0]), "true or false", "", takes="none")
"""On or off: a flag without a value and its negations, true or false in the environment and in YAML."""

LATCH = Kind(SWITCH.convert, SWITCH.expected, "", takes="none")
"""A switch without negation."""

TEXT = single(str, "a text", "TEXT")
PATH = single(str, "a path", "PATH")


def choice(*names: str) -> Kind:
    """One of `names`."""

    def parse(text: str) -> str:
        if text not in names:
            raise ValueError
        return text

    return single(parse, f"one of {', '.join(names)}", "{" + ",".join(names) + "}")


def choices(*names: str) -> Kind:
    """One or more of `names`, as words or separated by commas; the value is a list."""

    def convert(words: Sequence[str]) -> list[str]:
        given = [part for word in words for part in comma_separated(word)]
        if not set(given) <= set(names):
            raise ValueError
        return given

    return Kind(convert, f"some of {', '.join(names)}", "{" + ",".join(names) + "}", "many")


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f" from {low} to {high}"
    return "" if low is None else f" of {low} or more"


def _in_range(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def integer(low: int | None = None, high: int | None = None, *, unit: str = "") -> Kind:
    """A whole number within inclusive bounds."""

    def parse(text: str) -> int:
        value = int(text)
        if not _in_range(value, low, high):
            raise ValueError
        return value

    return single(parse, "an integer" + _range(low, high), unit.upper() or "N", unit=unit)


def human_integer(text: str) -> int:
    """A whole number with vLLM's suffixes: k, m, g, t are powers of 1000, K, M, G, T powers of 1024.

    Decimals go with the lower-case suffixes only: 1.5k is 1500. Raises ValueError otherwise.
    """
    text = text.strip()
    suffix = text[-1:]
    if suffix in _DECIMAL_SUFFIXES:
        return int(_plain_decimal(text[:-1]) * _DECIMAL_SUFFIXES[suffix])
    if suffix in _BINARY_SUFFIXES:
        number = text[:-1]
        if "." in number:
            raise Refused(f"decimals need a lower-case suffix, as in {number}{suffix.lower()}")
        return int(_plain_decimal(number)) * _BINARY_SUFFIXES[suffix]
    return int(text)


def _plain_decimal(text: str) -> Any:
    from decimal import Decimal  # exact, and only needed by those who write 1.5k

    if not text.replace(".", "", 1).isdecimal():
        raise ValueError
    return Decimal(text)


def human(low: int | None = None, *, unit: str = "") -> Kind:
    """A whole number of at least `low` that may be written as 4k, 4K or 1M."""

    def parse(text: str) -> int:
        value = human_integer(text)
        if not _in_range(value, low, None):
            raise ValueError
        return value

    return single(parse, f"an integer{_range(low, None)} (4k = 4000, 4K = 4096)", unit.upper() or "N", unit=unit)


def human_or_auto(auto: int, *, unit: str = "") -> Kind:
    """As human(1), where auto (or vLLM's other spelling, -1) stands for the value `auto`."""
    kind = human(1)

    def parse(text: str) -> int:
        return auto if text.lower() in ("auto", "-1") else kind.convert([text])

    return single(parse, f"{kind.expected} or auto", unit.upper() or "N", unit=unit)


def number(low: float | None = None, high: float | None = None, *, above: bool = False, unit: str = "") -> Kind:
    """A finite number within inclusive bounds; with `above` the lower bound itself is excluded."""

    def parse(text: str) -> float:
        value = float(text)
        if not math.isfinite(value) or not _in_range(value, low, high) or (above and value == low):
            raise ValueError
        return value

    bounds = f" above {low}, at most {high}" if above else _range(low, high)
    return single(parse, "a number" + bounds, unit.upper() or "X", unit=unit)


def parse_json(text: str) -> Any:
    """The JSON value of `text`; raises Refused with the place of the mistake."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise Refused(f"{error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise Refused("nested too deeply") from None


def json_object(check: Callable[[dict[str, Any]], None] | None = None) -> Kind:
    """A JSON object as a dict; `check` raises Refused for content that cannot be."""

    def parse(text: str) -> dict[str, Any]:
        value = parse_json(text)
        if not isinstance(value, dict):
            raise ValueError
        if check is not None:
            check(value)
        return value

    return single(parse, "a JSON object", "JSON", is_json=True)


def _json_texts(text: str) -> list[str]:
    value = parse_json(text)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError
    return value


JSON_TEXTS = single(_json_texts, """a JSON list of strings, such as '["*"]'""", "JSON", is_json=True)


def comma_separated(text: str) -> list[str]:
    """The non-empty parts of a comma-separated list; the word None is an empty one, as in vLLM."""
    if text == "None":
        return []
    return [part for part in (piece.strip() for piece in text.split(",")) if part]


COMMA_SEPARATED = single(comma_separated, "a comma-separated list", "A,B")
