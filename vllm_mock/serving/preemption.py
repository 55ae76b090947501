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

# Only code that is busy with an answer is interrupted; what it calls may be waiting already, or hold a lock.
_BUSY = ("vllm_mock.", "jinja2.", "re.", "json.", "pydantic.")
_TEMPLATE = "<template>"
# Nor is code that others must not find half done: modules that are being imported, locks that all greenlets share.
_NEVER_BELOW = ("importlib.", "_frozen_importlib", "vllm_mock.shared.", "vllm_mock.kv_events.", "gevent.", "threading")
_OUTERMOST = "vllm_mock.serving.gevent_worker"
_ANSWERING = "vllm_mock.serving.worker"
_SERVING = "vllm_mock.serving."


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
    """Whether the code that a signal interrupted, and all that called it for this answer, may be left for a while."""
    if frame is None or not (_module(frame).startswith(_BUSY) or frame.f_code.co_filename == _TEMPLATE):
        return False
    while frame is not None and (name := _module(frame)) != _OUTERMOST:
        if name.startswith(_NEVER_BELOW) or (name.startswith(_SERVING) and name != _ANSWERING):
            return False
        frame = frame.f_back
    return True


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))
