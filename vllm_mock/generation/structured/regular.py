"""Regular expressions as expressions that texts are written from.

Read with the standard library's parser, after what only the Rust or JavaScript dialects have is rewritten. Anchors
are where they should be; look-around is not looked at (the caller checks the text).
"""

import re
import warnings
from functools import lru_cache
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

from .characters import Characters, Range, complement
from .expression import Again, Chain, Choice, Expression, Group, Literal, OneOf, Repeat

_CATEGORIES: dict[Any, list[Range]] = {
    op.CATEGORY_DIGIT: [(0x30, 0x39)],
    op.CATEGORY_SPACE: [(9, 13), (32, 32)],
    op.CATEGORY_WORD: [(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)],
}
_NEGATED = {
    op.CATEGORY_NOT_DIGIT: op.CATEGORY_DIGIT,
    op.CATEGORY_NOT_SPACE: op.CATEGORY_SPACE,
    op.CATEGORY_NOT_WORD: op.CATEGORY_WORD,
}
# What Python's dialect lacks: Unicode classes (a few members suffice), POSIX classes, names, code points.
_FOREIGN = re.compile(
    r"\\(?:[pP]\{\^?(?P<property>[^}]*)\}|[pP](?P<letter>[A-Z])|[xu]\{(?P<code>[0-9A-Fa-f]+)\}|(?P<end>z)"
    r"|(?P<slash>/)|c(?P<control>[A-Za-z])|(?P<itself>[eghijlmoqyCE-OQRTVXY]|U(?![0-9A-Fa-f]{8}))|.)"
    r"|\[:(?P<posix>\^?\w+):\]|\(\?<(?=[A-Za-z_])(?P<name>)",
    re.DOTALL,
)
_PROPERTIES = {"Lu": "A-Z", "Ll": "a-z", "N": "0-9", "Nd": "0-9", "P": "!,.", "S": "+$", "Z": " ", "Zs": " "}
_POSIX = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": r"\s",
    "punct": "!,.",
    "xdigit": "0-9a-fA-F",
    "word": r"\w",
}


@lru_cache(maxsize=256)
def regular(pattern: str) -> Expression:
    """What matches a regular expression. Raises ValueError if it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _chain(_parser.parse(_translated(pattern)))
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from error


def is_open(pattern: str) -> tuple[bool, bool]:
    """Whether a text may go on before and after what matches."""
    return not pattern.startswith(("^", r"\A")), not (pattern.endswith(("$", r"\z", r"\Z")) and pattern[-2:] != r"\$")


@lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str] | None:
    """The pattern for a check of a text; None if Python cannot read it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return re.compile(_translated(pattern))
    except (re.error, OverflowError, RecursionError):
        return None


def _translated(pattern: str) -> str:
    # As xgrammar reads a class that excludes nothing, and one in which a hyphen follows a class.
    pattern = re.sub(r"(?<!\\)\[\^\]", r"[\\s\\S]", pattern)
    pattern = re.sub(r"(\\[dDwWsS])-(?!\])", r"\1\\-", pattern)
    inside = False
    result = []
    position = 0
    while position < len(pattern):
        found = _FOREIGN.match(pattern, position)
        if found:
            result.append(_replacement(found, inside))
            position = found.end()
            continue
        character = pattern[position]
        inside = (inside and character != "]") or (not inside and character == "[")
        result.append(character)
        position += 1
    return "".join(result)


def _replacement(found: re.Match[str], inside: bool) -> str:
    if found["property"] is not None or found["letter"] is not None:
        members = _PROPERTIES.get(found["property"] or found["letter"], "a-zA-Z")
        negated = found[0].startswith((r"\P", r"\p{^"))
        if negated:
            members = "0-9" if members.startswith(("a", "A")) else "a-z"
        return members if inside else f"[{members}]"
    if found["posix"] is not None:
        return _POSIX.get(found["posix"], "a-z")
    if found["code"] is not None:
        return f"\\U{int(found['code'], 16):08x}"
    if found["end"] is not None:
        return r"\Z"
    if found["slash"] is not None:
        return "/"
    if found["control"] is not None:
        return f"\\x{ord(found['control'].upper()) - 64:02x}"
    if found["itself"] is not None:
        # xgrammar takes an escaped letter that means nothing as the letter.
        return found["itself"]
    return "(?P<" if found["name"] is not None else found[0]


def _chain(items: Any) -> Expression:
    parts = [_part(*item) for item in items]
    return parts[0] if len(parts) == 1 else Chain(parts)


def _part(code: Any, value: Any) -> Expression:
    if code is op.LITERAL:
        return Literal(chr(value))
    if code is op.SUBPATTERN:
        number, _, _, inner = value
        return _chain(inner) if number is None else Group(number, _chain(inner))
    if code is op.BRANCH:
        return Choice([_chain(option) for option in value[1]])
    if code in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
        low, high, inner = value
        return Repeat(_chain(inner), low, None if high is op.MAXREPEAT else high)
    if code is op.GROUPREF:
        return Again(value)
    if code is op.GROUPREF_EXISTS:
        return _chain(value[1])
    if code is op.ATOMIC_GROUP:
        return _chain(value)
    if code in (op.AT, op.ASSERT, op.ASSERT_NOT):
        return Literal("")
    return OneOf(Characters(_ranges(code, value)))


def _ranges(code: Any, value: Any) -> list[Range]:
    if code is op.ANY:
        return complement([(10, 10)])
    if code is op.NOT_LITERAL:
        return complement([(value, value)])
    if code is op.LITERAL:
        return [(value, value)]
    if code is op.RANGE:
        return [value]
    if code is op.CATEGORY:
        return _CATEGORIES[value] if value in _CATEGORIES else complement(_CATEGORIES[_NEGATED[value]])
    if code is op.IN:
        negated = value[0][0] is op.NEGATE
        ranges = [found for item in value[negated:] for found in _ranges(*item)]
        return complement(ranges) if negated else ranges
    raise ValueError(f"unknown: {code}")
