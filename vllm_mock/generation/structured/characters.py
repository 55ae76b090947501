"""Sets of characters, as ranges of code points."""

from collections.abc import Iterable, Sequence
from functools import cached_property

from vllm_mock.generation.draws import Draws

Range = tuple[int, int]

_LAST = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)
_PRINTABLE = (0x20, 0x7E)
# Sets of more printable characters than these are prose, of fewer they are codes: hexadecimal digits and such.
_PROSE = 64
_LOWER_CASE = "abcdefghijklmnopqrstuvwxyz"


class Characters:
    """A set of characters. `draw` prefers what can be printed, and lower-case letters in a large set."""

    def __init__(self, ranges: Iterable[Range]) -> None:
        self.ranges = _joined(ranges)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __contains__(self, character: str) -> bool:
        return any(low <= ord(character) <= high for low, high in self.ranges)

    @cached_property
    def has_letters(self) -> bool:
        """Whether all lower-case letters are in it."""
        return any(low <= ord("a") and ord("z") <= high for low, high in self.ranges)

    @cached_property
    def usual_run(self) -> int:
        """How much longer than necessary a run of them becomes: prose or a code, a number, white space."""
        if self.has_letters:
            return 24 if " " in self else 8
        return 3 if any(map(str.isalnum, self._preferred)) else 1

    def draw(self, draws: Draws) -> str:
        """Return one of the characters."""
        return draws.pick(self._preferred)

    @cached_property
    def _preferred(self) -> Sequence[str]:
        low, high = _PRINTABLE
        printable = [chr(code) for code in range(low, high + 1) if chr(code) in self]
        if len(printable) > _PROSE and self.has_letters:
            return _LOWER_CASE
        if printable:
            return [c for c in printable if c.isalnum()] or printable
        return [chr(code) for first, last in self.ranges for code in {first, (first + last) // 2, last}]


def complement(ranges: Iterable[Range]) -> list[Range]:
    """Every character that is in none of the ranges."""
    found = []
    start = 0
    for low, high in _joined([*ranges, _SURROGATES]):
        if start < low:
            found.append((start, low - 1))
        start = high + 1
    if start <= _LAST:
        found.append((start, _LAST))
    return found


def _joined(ranges: Iterable[Range]) -> list[Range]:
    joined: list[Range] = []
    for low, high in sorted(ranges):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(high, joined[-1][1])
        else:
            joined.append((low, high))
    return joined
