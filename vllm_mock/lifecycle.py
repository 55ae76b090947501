"""What state the server is in: starting, ready, draining; and how many requests are in flight."""

import time
from collections.abc import Callable


class Lifecycle:
    """State of one worker process, read by /health and /ready and by the shutdown.

    A request counts as in flight from its dispatch until its last byte was handed to the worker.
    """

    def __init__(self) -> None:
        self.ready = False
        self.draining = False
        # An entry per request: append and pop are atomic, and cheaper than a lock around a counter.
        self._flights: list[None] = []

    @property
    def in_flight(self) -> int:
        """How many requests are being served."""
        return len(self._flights)

    def begin(self) -> None:
        """One more request is being served."""
        self._flights.append(None)

    def end(self) -> None:
        """A request is over, whatever its outcome."""
        self._flights.pop()

    def drain(self, timeout: float, abort_all: Callable[[], None]) -> None:
        """Stop taking requests, let running ones finish for `timeout` seconds, then abort the rest.

        Returns when nothing is in flight, or at most one second after the abort, so that a client which
        does not read cannot hold up the exit.
        """
        self.draining = True
        if timeout > 0:
            self._wait_idle(timeout)
        abort_all()
        self._wait_idle(1.0)

    def _wait_idle(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.in_flight > 0 and time.monotonic() < deadline:
            time.sleep(0.02)
