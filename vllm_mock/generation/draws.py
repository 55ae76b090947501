"""Pseudo-random draws that repeat exactly in every process.

A request needs a handful of draws; creating a ``random.Random`` (about 10 us) would cost more than they do.
SplitMix64 is used instead (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
"""

import math
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")

MASK64 = (1 << 64) - 1
GOLDEN_GAMMA = 0x9E3779B97F4A7C15
_GREEDY_MARK = 0x6772656564790000
_TWO_PI = 2.0 * math.pi


def mix64(value: int) -> int:
    """Scramble an integer into 64 well-distributed bits (SplitMix64's finaliser)."""
    value &= MASK64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK64
    return value ^ (value >> 31)


def prompt_key(prompt_token_ids: Sequence[int], seed: int | None) -> int:
    """Return the 64-bit key of the one answer that a prompt has under a seed; None means greedy sampling.

    Python salts the hashes of strings per process, but not those of integers and tuples of them.
    """
    seed_key = mix64(_GREEDY_MARK) if seed is None else mix64(seed + GOLDEN_GAMMA)
    return mix64(hash(tuple(prompt_token_ids)) ^ seed_key)


class Draws:
    """A stream of independent draws, the same for the same key."""

    __slots__ = ("_state",)

    def __init__(self, key: int) -> None:
        self._state = key

    def bits(self) -> int:
        """Return 64 random bits as a non-negative integer."""
        self._state += GOLDEN_GAMMA
        return mix64(self._state)

    def below(self, limit: int) -> int:
        """Return an integer in [0, limit), for a limit far below 2**64."""
        return self.bits() % limit

    def between(self, low: int, high: int) -> int:
        """Return an integer in [low, high], however large."""
        span = high - low + 1
        drawn = self.bits()
        while span >> 64:
            drawn = drawn << 64 | self.bits()
            span >>= 64
        return low + drawn % (high - low + 1)

    def pick(self, items: Sequence[Item]) -> Item:
        """Return one of the items."""
        return items[self.bits() % len(items)]

    def chance(self, percent: int) -> bool:
        """Return True in `percent` of 100 cases."""
        return self.bits() % 100 < percent

    def normal(self, mean: float, std_dev: float) -> float:
        """Return a draw from a normal distribution (Box-Muller transform)."""
        if std_dev <= 0:
            return mean
        # (0, 1], so that the logarithm is finite.
        radius = math.sqrt(-2.0 * math.log(((self.bits() >> 11) + 1) * 2.0**-53))
        return mean + std_dev * radius * math.cos(_TWO_PI * (self.bits() >> 11) * 2.0**-53)
