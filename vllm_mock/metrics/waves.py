"""Values that are a function of time, so that an autoscaler sees load rise and fall.

Written `shape:start:end:period`, as llm-d's simulator names the shapes: `oscillate:10:90:60s`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from vllm_mock.settings.durations import parse_duration

# Each takes how many periods have passed and gives the share of the way from start to end.
_SHAPES: dict[str, Callable[[float], float]] = {
    "oscillate": lambda passed: (1.0 - math.cos(2.0 * math.pi * passed)) / 2.0,
    "ramp": lambda passed: min(passed, 1.0),
    "rampreset": lambda passed: passed % 1.0,
    "squarewave": lambda passed: 0.0 if passed % 1.0 < 0.5 else 1.0,
}
EXPECTED = "|".join(_SHAPES) + ":START:END:PERIOD with a period such as 30s"


class Wave(NamedTuple):
    """From `start` to `end` within `period` seconds: there and back, once, again and again, or in steps."""

    shape: str
    start: float
    end: float
    period: float

    def at(self, seconds: float) -> float:
        """The value `seconds` after it was set."""
        return self.start + (self.end - self.start) * _SHAPES[self.shape](max(seconds, 0.0) / self.period)


def parse_wave(text: str) -> Wave:
    """Raises ValueError unless `text` is a wave."""
    shape, *numbers = text.split(":")
    if shape not in _SHAPES or len(numbers) != 3:
        raise ValueError(text)
    start, end = float(numbers[0]), float(numbers[1])
    period = parse_duration(numbers[2], "s")
    if not (math.isfinite(start) and math.isfinite(end) and period > 0):
        raise ValueError(text)
    return Wave(shape, start, end, period)
