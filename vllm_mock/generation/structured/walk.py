"""Texts of constraints that only llguidance reads: byte by byte, along what it allows.

For the rare grammar or pattern whose notation `grammar` and `regular` do not know. How far it is to an end is not
known here, so that a text may be cut that could have ended.
"""

from collections.abc import Iterator
from typing import Literal

from vllm_mock.generation.draws import Draws

from .expression import LONGEST_TEXT

# A text without a bound goes on for so many characters, unless it must end before.
_USUAL_LENGTH = 40
# A text that can end goes on in so many of 100 cases until then.
_GOES_ON = 90
# What is likely to lead to an end.
_CLOSING = b")]}>\"';.\n"
_PRINTABLE = range(0x20, 0x7F)


class Walk:
    """Makes texts for what `llguidance.grammar_from` makes of a constraint. Raises ValueError for a faulty one."""

    shortest = 0.0

    def __init__(self, kind: Literal["regex", "grammar"], value: str) -> None:
        # Imported here: it costs 80 ms and 9 MB.
        import llguidance

        self._grammar = llguidance.grammar_from(kind, value)
        fault = llguidance.LLMatcher.validate_grammar(self._grammar)
        if fault:
            raise ValueError(fault)
        self._bytes = llguidance.LLTokenizer("byte")
        self._new_matcher = llguidance.LLMatcher

    def text(
        self, draws: Draws, most: float | None = None, compact: bool = False, longest: float = LONGEST_TEXT
    ) -> str:
        """A text of about at most `most` characters where that is easily found."""
        wanted = _USUAL_LENGTH if most is None else min(most, _USUAL_LENGTH)
        matcher = self._new_matcher(self._bytes, self._grammar, log_level=0)
        written = bytearray()
        while not matcher.is_stopped() and len(written) < min(longest, max(10 * wanted, 400)):
            ending = len(written) >= wanted or not draws.chance(_GOES_ON)
            if matcher.is_accepting() and ending:
                break
            allowed = list(_allowed(matcher.compute_bitmask()))
            if not allowed:
                break
            step = _next(allowed, len(written) >= wanted, draws)
            matcher.consume_token(step)
            written.append(step)
        return _whole(written)


def _allowed(mask: bytes) -> Iterator[int]:
    for index, bits in enumerate(mask):
        for bit in range(8):
            if bits >> bit & 1 and 8 * index + bit < 0x100:
                yield 8 * index + bit


def _next(allowed: list[int], ending: bool, draws: Draws) -> int:
    closing = [byte for byte in allowed if byte in _CLOSING]
    if ending and closing:
        return draws.pick(closing)
    plain = [byte for byte in allowed if chr(byte).isascii() and chr(byte).isalnum()]
    return draws.pick(plain or [byte for byte in allowed if byte in _PRINTABLE] or allowed)


def _whole(written: bytearray) -> str:
    """The text without a character that is not finished."""
    return written.decode(errors="ignore")
