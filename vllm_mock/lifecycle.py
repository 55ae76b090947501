"""What state the server is in: loading, ready, draining; and how many requests are in flight."""

import time
from collections.abc import Callable


class Lifecycle:
    """State of one worker process, read by /health and /ready and by the shutdown.

    A request counts as in flight from its dispatch until its last byte was handed to the worker.
    """

    def __init__(self, startup_duration: float = 0.0) -> None:
        """`startup_duration`: seconds that the model takes to load, as it were."""
        self.warm = False
        self.draining = False
        self._loaded_at = time.monotonic() + startup_duration
        # What the engine does not know of, and hence cannot abort, looks here while it waits.
        self.aborting = False
        # An entry per request: append and pop are atomic, and cheaper than a lock around a counter.
        self._flights: list[None] = []

    @property
    def loading(self) -> bool:
        """The model is not there yet."""
        return self._loaded_at > 0 and not self._is_loaded()

    def _is_loaded(self) -> bool:
        if time.monotonic() < self._loaded_at:
            return False
        self._loaded_at = 0.0
        return True

    @property
    def ready(self) -> bool:
        """Requests are answered without delay."""
        return self.warm and not self.loading and not self.draining

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

    def drain(self, timeout: float, abort_all: Callable[[], object]) -> None:
        """Stop taking requests, let running ones finish for `timeout` seconds, then abort the rest.

        Returns when nothing is in flight, or at most one second after the abort, so that a client which
        does not read cannot hold up the exit.
        """
        self.draining = True
        if timeout > 0:
            self._wait_idle(timeout)
        self.aborting = True
        abort_all()
        self._wait_idle(1.0)

    def _wait_idle(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.in_flight > 0 and time.monotonic() < deadline:
            time.sleep(0.02)
