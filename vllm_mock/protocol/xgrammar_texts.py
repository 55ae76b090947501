"""Which regular expressions and grammars xgrammar takes, as far as llguidance would not.

Found by asking both libraries of vLLM 0.33.0.
"""

import re
import warnings

from vllm_mock.protocol import guidance

# What the libraries' dialects and Python's do not all have: groups of special kinds, some escapes, odd braces.
_DOUBTFUL = re.compile(
    r"\\[^dDwWsSnrtfv.^$*+?()\[\]{}|/\\\-_]|\(\?(?!:)|\{(?!\d+(?:,\d*)?\})|(?<![\\,\d])\}|\[\^?\]|\[[^\]]*&&"
    r"|[*+?}][*+]|[\w\]]-\\|\\[dDwWsS]-[^\]]"
)
# What xgrammar alone reads, and something in its place that both do.
_REGEX_READINGS = (
    (re.compile(r"\\(?:c[A-Za-z]|0[0-7]{0,2}|[eghijlmoqyCE-OQRTUVXYZ<>])"), "x"),
    (re.compile(r"\[\^\]"), "."),
    (re.compile(r"\[\\b\]"), "x"),
    (re.compile(r"(\\[dDwWsS])-(?!\])"), r"\1\\-"),
)
_ANCHORS = re.compile(r"(?<!\\)[\^$]|\\z")
_ANCHOR_FAULT = re.compile("lookarounds not supported yet; (Start|End) in")
_OWN_TO_RUST = re.compile(r"\(\?|\\p")
_GRAMMAR_READINGS = (
    (re.compile(r"^([ \t]*)[?!]+(?=\w+\s*:(?!:))", re.MULTILINE), r"\1"),
    (re.compile(r"^(\s*[\w-]+)\s*\n\s*::=", re.MULTILINE), r"\1 ::="),
    (re.compile(r"~\s*(\d+)\s*\.\.\s*(\d+)"), r"{\1,\2}"),
    (re.compile(r"~\s*(\d+)"), r"{\1}"),
    (re.compile(r"\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8})"), "x"),
    (re.compile(r"\n\s*\|"), " |"),
    (re.compile(r"TagDispatch\(.*\)"), '"x"'),
)


def regex_fault(pattern: str) -> str | None:
    """What vLLM says of a regular expression that it refuses; None if it takes it."""
    if _is_plain(pattern):
        return None
    fault = guidance.regex_fault(pattern)
    if fault is not None and _ANCHOR_FAULT.search(fault) and not _OWN_TO_RUST.search(pattern):
        # xgrammar ignores anchors inside.
        pattern = _ANCHORS.sub("", pattern)
    if fault is None or guidance.regex_fault(_replaced(pattern, _REGEX_READINGS)) is None:
        return None
    return fault


def grammar_fault(grammar: str) -> str | None:
    """What vLLM says of a grammar that it refuses; None if it takes it."""
    fault = guidance.grammar_fault(grammar)
    if fault is None or guidance.grammar_fault(_replaced(grammar, _GRAMMAR_READINGS)) is None:
        return None
    return fault


def is_regex(pattern: str) -> bool:
    """Whether a pattern is one at all, in Python's or in Rust's dialect."""
    return _compiles(pattern) or guidance.regex_fault(pattern) is None


def _is_plain(pattern: str) -> bool:
    return _DOUBTFUL.search(pattern) is None and _compiles(pattern)


def _compiles(pattern: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def _replaced(text: str, readings: tuple[tuple[re.Pattern[str], str], ...]) -> str:
    for pattern, reading in readings:
        text = pattern.sub(reading, text)
    return text
