"""When the tokens of one request come: an absolute schedule, fixed when the request starts."""

from bisect import bisect_right
from dataclasses import dataclass

# A scrape at the very instant of a token must count it in spite of float rounding.
_ROUNDING = 1e-9


@dataclass(slots=True)
class TokenTiming:
    """`count` tokens, the first at `due` (monotonic seconds), each further one `interval` seconds later."""

    due: float
    count: int
    interval: float


class Timeline:
    """`count` tokens: `interval` seconds apart from `first` on, or each at its own time of `dues`."""

    __slots__ = ("count", "dues", "first", "interval", "last")

    def __init__(self, first: float, count: int, interval: float, dues: list[float] | None = None) -> None:
        self.first = first
        self.count = count
        self.interval = interval
        self.dues = dues
        self.last = dues[-1] if dues else first + (count - 1) * interval

    def postponed(self, since: float, seconds: float) -> "Timeline":
        """The same with every token that is due after `since` coming `seconds` later."""
        dues = self.dues or [self.first + number * self.interval for number in range(self.count)]
        moved = [due if due <= since else due + seconds for due in dues]
        return Timeline(moved[0], self.count, self.interval, moved)

    def timing(self, number: int) -> TokenTiming | None:
        """The timing with that number (from 0), or None behind the last one."""
        if self.dues is None:
            return TokenTiming(self.first, self.count, self.interval) if number == 0 else None
        return TokenTiming(self.dues[number], 1, 0.0) if number < self.count else None

    def tokens_due(self, now: float) -> int:
        """How many tokens are due by `now`."""
        if now < self.first:
            return 0
        if self.dues is not None:
            return bisect_right(self.dues, now)
        if self.interval <= 0:
            return self.count
        return min(self.count, 1 + int((now - self.first) / self.interval + _ROUNDING))
