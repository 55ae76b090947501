"""Faults of a regular expression in the words of Rust's regex library, which vLLM's grammars use."""

import re

# Python's complaint: Rust's words for it, and what Rust marks (None: one character).
_FAULTS = {
    "unterminated character set": ("unclosed character class", None),
    "missing ), unterminated subpattern": ("unclosed group", None),
    "unbalanced parenthesis": ("unopened group", None),
    "nothing to repeat": ("repetition operator missing expression", None),
    "min repeat greater than max repeat": (
        "invalid repetition count range, the start must be <= the end",
        re.compile(r"\{[^}]*\}"),
    ),
    "bad character range": ("invalid character class range, the start must be <= the end", re.compile(r".-.")),
}
# What Python has and Rust has not. Escaped characters and classes come first, to step over them.
_UNSUPPORTED = re.compile(
    r"(?P<skip>\\[^1-9]|\[\^?\]?(?:[^\]\\]|\\.)*\])|(?P<look>\(\?<?[=!])|(?P<back>\\[1-9])", re.DOTALL
)
_LOOK_AROUND = "look-around, including look-ahead and look-behind, is not supported"
_BACK_REFERENCE = "backreferences are not supported"


def regex_fault(pattern: str) -> str | None:
    """The complaint about a pattern, None when it is good (or only Python would complain)."""
    for found in _UNSUPPORTED.finditer(pattern):
        if found["look"]:
            return _told(pattern, found.start(), found.end(), _LOOK_AROUND)
        if found["back"]:
            return _told(pattern, found.start(), found.end(), _BACK_REFERENCE)
    try:
        re.compile(pattern)
    except re.error as e:
        return _translated(pattern, e)
    except (RecursionError, OverflowError):
        return None
    return None


def _translated(pattern: str, e: re.error) -> str | None:
    for words, (fault, extent) in _FAULTS.items():
        if not e.msg.startswith(words) or e.pos is None:
            continue
        # Python points behind the brace that opens a count, Rust at it.
        found = extent.search(pattern, max(e.pos - 1, 0)) if extent is not None else None
        if found is not None:
            return _told(pattern, found.start(), found.end(), fault)
        return _told(pattern, e.pos, e.pos + 1, fault)
    return None


def _told(pattern: str, start: int, end: int, fault: str) -> str:
    return f"regex parse error:\n    {pattern}\n    {' ' * start}{'^' * (end - start)}\nerror: {fault}"
