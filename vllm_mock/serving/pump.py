"""Drives all streams of a worker from one timer: no greenlet is woken to send a token."""

import time
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from vllm_mock.serving.lean_response import LeanResponse

if TYPE_CHECKING:
    from vllm_mock.routes.pacing import Step

# How long the streams may be served at a stretch before new requests get their turn.
STRETCH_SECONDS = 0.002


class Flow:
    """A streamed answer on its way.

    What may take long is left to the greenlet of its connection: steps that may block, a client that does not
    read fast enough, the end. That one is called by `hand_over` and finds `error`, if there was one, and
    `resume_at`, if no step is to be taken before that time; bytes that are not sent yet wait in the response.
    """

    __slots__ = ("_frame", "_hand_over", "_response", "_send", "_steps", "error", "resume_at")

    def __init__(self, steps: "Iterator[Step]", response: LeanResponse, hand_over: Callable[[], None]) -> None:
        self._steps = steps
        self._hand_over = hand_over
        self.error: Exception | None = None
        self.resume_at: float | None = None
        self._response = response
        self._frame = response.frame
        self._send = response.sock._sock.send

    def drop(self) -> None:
        """Its connection is gone, or served by its greenlet to the end: nothing more is to be done."""
        self._steps = iter(())

    def advance(self) -> float | None:
        """Sends what there is up to the next wait; when that ends, or None when it was handed over."""
        try:
            data, resume_at = self._collect()
            framed = self._frame(data)
            if resume_at is not None and framed:
                framed = framed[self._sent(framed) :]
        except Exception as error:
            self.error = error
        else:
            if resume_at is not None and not framed:
                return resume_at
            self._response.unsent = framed
            self.resume_at = resume_at
        self._hand_over()
        return None

    def _collect(self) -> tuple[bytes, float | None]:
        """The bytes up to the next wait, and when that ends; None: at a step that may block, or at the end."""
        data = b""
        for step in self._steps:
            if isinstance(step, bytes):
                data = data + step if data else step
            else:
                return data, step
        return data, None

    def _sent(self, framed: bytes) -> int:
        """How many of these bytes the socket took."""
        try:
            return self._send(framed)
        except BlockingIOError:
            return 0


class Pump:
    """The flows that wait, by the time at which they go on (monotonic seconds)."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Flow]] = []
        self._added = 0

    def add(self, flow: Flow, resume_at: float) -> None:
        """Lets a flow wait until `resume_at`."""
        self._added += 1
        heappush(self._waiting, (resume_at, self._added, flow))

    def run(self) -> float | None:
        """Lets those go on whose time has come, at most for a stretch; returns when to call again, None: not now."""
        waiting = self._waiting
        now = time.monotonic()
        until = now + STRETCH_SECONDS
        while waiting and waiting[0][0] <= now < until:
            flow = heappop(waiting)[2]
            resume_at = flow.advance()
            if resume_at is not None:
                self.add(flow, resume_at)
            now = time.monotonic()
        return waiting[0][0] if waiting else None
