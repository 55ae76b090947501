"""Where values are added up between scrapes: plain attributes, since they are touched at every request."""

import math
import time
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate


class Value:
    """The value of one series of a counter or gauge."""

    __slots__ = ("created", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self.created = time.time()


class Histogram:
    """Counts by upper bound, which can be added in bulk."""

    __slots__ = ("bounds", "counts", "created", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = [float(bound) for bound in bounds]
        self.counts: list[float] = [0] * (len(self.bounds) + 1)
        self.total = 0.0
        self.created = time.time()

    def observe(self, value: float, count: int = 1) -> None:
        """Counts `value` `count` times."""
        self.counts[bisect_left(self.bounds, value)] += count
        self.total += value * count

    def cumulative(self) -> tuple[tuple[float, float], ...]:
        """(upper bound, count of values up to it), the last bound being infinity."""
        return tuple(zip((*self.bounds, math.inf), accumulate(self.counts), strict=True))

    def set_cumulative(self, counts: Sequence[float], total: float) -> None:
        """Take over cumulative counts, infinity's last, and their sum."""
        self.counts = [count - before for count, before in zip(counts, (0.0, *counts), strict=False)]
        self.total = total


class WorstOf:
    """The highest value recorded in the last `seconds` whole seconds."""

    __slots__ = ("_highest", "_seconds", "_slots", "_until", "_worst")

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._slots = [-1] * seconds
        self._worst = [0.0] * seconds
        # The present second: its highest value and its end.
        self._highest = 0.0
        self._until = 0

    def record(self, value: float) -> None:
        """Takes a value into account from now on."""
        now = time.monotonic()
        if now >= self._until:
            self._until = int(now) + 1
            self._slots[int(now) % self._seconds] = int(now)
        elif value <= self._highest:
            return
        self._highest = self._worst[int(now) % self._seconds] = value

    def worst(self) -> float:
        """The highest value, 0 if there was none."""
        oldest = int(time.monotonic()) - self._seconds
        recent = zip(self._slots, self._worst, strict=True)
        return max((worst for slot, worst in recent if slot > oldest), default=0.0)
