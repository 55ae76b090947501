"""The clock of a simulation: seconds that may pass faster than those of the wall."""

import time


class SimulatedClock:
    """time.monotonic(), from the making of the clock on `scale` times as fast."""

    __slots__ = ("_origin", "scale")

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self._origin = time.monotonic()

    def __call__(self) -> float:
        """The present, in simulated seconds."""
        return self.simulated(time.monotonic())

    def simulated(self, wall: float) -> float:
        """The simulated time at that reading of time.monotonic()."""
        return wall if self.scale == 1.0 else self._origin + (wall - self._origin) * self.scale

    def wall(self, simulated: float) -> float:
        """What time.monotonic() reads at that simulated time, rounded to later."""
        if self.scale == 1.0:
            return simulated
        return self._origin + (simulated - self._origin) / self.scale + 1e-9
