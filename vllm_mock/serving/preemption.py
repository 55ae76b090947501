"""Ends the turn of a request that computes for long, as the interpreter does between threads.

Greenlets run until they wait. Without this, a request for 16,000 choices or with a grammar of 100,000 rules would keep
all streams of its worker silent for seconds, and one that takes half a minute would have the worker killed.
"""

import atexit
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

# The worker's CPU time between two looks: nothing wakes an idle worker.
TICK_SECONDS = 0.01
# How long the others have been waiting when a turn ends.
TURN_SECONDS = 0.02
# Long enough for a look at the sockets.
PAUSE_SECONDS = 0.0002

# Code that may be in the middle of waiting already, or that others must not find half done.
_NEVER_IN = frozenset(("gevent", "greenlet", "gunicorn", "threading", "queue", "socket", "ssl", "selectors", "logging"))
_NEVER_BELOW = "vllm_mock.serving"


class Preemption:
    """Knows which greenlets compute answers; all they do is fit for threads, which may be interrupted anywhere."""

    def __init__(self, waited: Callable[[], float]) -> None:
        """`waited`: for how many seconds the event loop has not had its turn."""
        self._waited = waited
        self._computing: set[int] = set()

    def start(self) -> None:
        """Look from now on, in this process."""
        signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, TICK_SECONDS, TICK_SECONDS)
        # The handler goes before the process does, and without it the signal kills.
        atexit.register(signal.setitimer, signal.ITIMER_PROF, 0)

    def begin(self) -> int:
        """The present greenlet computes an answer; returns what `end` wants."""
        ident = threading.get_ident()
        self._computing.add(ident)
        return ident

    def end(self, ident: int) -> None:
        """It no longer does."""
        self._computing.discard(ident)

    def _look(self, signum: int, frame: FrameType | None) -> None:
        if threading.get_ident() in self._computing and self._waited() >= TURN_SECONDS and _may_pause(frame):
            time.sleep(PAUSE_SECONDS)


def _may_pause(frame: FrameType | None) -> bool:
    name = "" if frame is None else str(frame.f_globals.get("__name__"))
    return name.partition(".")[0] not in _NEVER_IN and not name.startswith(_NEVER_BELOW)
