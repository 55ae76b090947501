"""What state the server is in: starting, ready, draining; and how many requests are in flight."""

import threading
import time
from collections.abc import Callable


class Lifecycle:
    """State of one worker process, read by /health and /ready and by the shutdown.

    A request counts as in flight from its dispatch until its last byte was handed to the worker.
    """

    def __init__(self) -> None:
        self.ready = False
        self.draining = False
        self.in_flight = 0
        self._lock = threading.Lock()

    def begin(self) -> None:
        """One more request is being served."""
        with self._lock:
            self.in_flight += 1

    def end(self) -> None:
        """A request is over, whatever its outcome."""
        with self._lock:
            self.in_flight -= 1

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
