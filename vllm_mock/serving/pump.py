"""Drives all streams of a worker from one timer: no greenlet is woken to send a token."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from math import ceil
from typing import TYPE_CHECKING

from vllm_mock.serving.lean_response import LeanResponse

if TYPE_CHECKING:
    from vllm_mock.routes.pacing import Step
    from vllm_mock.routes.plain_tokens import PlainTokens

# How long the streams may be served at a stretch before new requests get their turn.
STRETCH_SECONDS = 0.002
# Streams that are due within the same span go on together, at its end: one wake serves them all, with warm caches.
SPANS_PER_SECOND = 4000
# With more streams than that, several spans are taken together.
FEW = 100
SPANS_TOGETHER = 8
WIDE_SPANS_PER_SECOND = SPANS_PER_SECOND / SPANS_TOGETHER
# How much is rendered before it is sent: of so many streams, or so many bytes.
AT_ONCE = 32
BYTES_AT_ONCE = 32_768


class Flow:
    """A streamed answer on its way, whose head is sent.

    What may take long is left to the greenlet of its connection: steps that may block, a client that does not
    read fast enough, the end. That one is called by `hand_over` and finds `error`, if there was one, and
    `resume_at`, if no step is to be taken before that time; bytes that are not sent yet wait in the response.
    """

    __slots__ = ("_chunked", "_hand_over", "_response", "_sent", "_steps", "_tokens", "error", "resume_at", "send")

    def __init__(self, steps: "Iterator[Step]", response: LeanResponse, hand_over: Callable[[], None]) -> None:
        self._steps = steps
        self._hand_over = hand_over
        self._response = response
        self._chunked = response.chunked
        self._tokens: PlainTokens | None = None
        # Bytes of bodies that the response does not know of yet.
        self._sent = 0
        self.error: Exception | None = None
        self.resume_at: float | None = None
        self.send: Callable[[bytes], int] = response.sock._sock.send

    def wait(self, step: "float | PlainTokens") -> float:
        """Until when the stream waits with this step."""
        if isinstance(step, float):
            return step
        self._tokens = step
        return step.due

    def drop(self) -> None:
        """Its connection is gone, or served by its greenlet to the end: nothing more is to be done."""
        self._steps = iter(())
        self._tokens = None
        self._tell_sent()
        # Its traceback leads back to this flow: the circle would keep the whole request.
        self.error = None

    def collect(self, now: float) -> bytes | None:
        """What there is to send up to the next wait, as it goes on the wire; None when it was handed over."""
        data = None
        if (tokens := self._tokens) is not None:
            data = tokens.take(now)
            if data is not None and tokens.due > now:
                self.resume_at = tokens.due
                if not self._chunked:
                    return self._response.frame(data)
                # The same, without a look at the response.
                self._sent += len(data)
                return b"%X\r\n%b\r\n" % (len(data), data)
            self._tokens = None
        return self._render(data or b"")

    def _render(self, data: bytes) -> bytes | None:
        self.resume_at = None
        try:
            for step in self._steps:
                if isinstance(step, bytes):
                    data = data + step if data else step
                else:
                    if step is not None:
                        self.resume_at = self.wait(step)
                    break
        except Exception as error:
            self.error = error
        self._tell_sent()
        framed = self._response.frame(data)
        if self.resume_at is not None:
            return framed
        self._response.unsent = framed
        self._hand_over()
        return None

    def _tell_sent(self) -> None:
        self._response.sent += self._sent
        self._sent = 0

    def stopped(self, unsent: bytes, error: Exception | None = None) -> None:
        """Not all could be sent: its greenlet does the rest."""
        self._response.unsent = unsent
        self.error = error
        self._hand_over()


class Pump:
    """The flows that wait, by the span in which they go on."""

    def __init__(self) -> None:
        self._spans: dict[int, deque[Flow]] = {}
        # The numbers of these spans, a heap.
        self._order: list[int] = []
        self._waiting = 0

    def add(self, flow: Flow, resume_at: float) -> float:
        """Lets a flow wait until `resume_at` (monotonic seconds); returns when it will go on."""
        return self._put(flow, resume_at, time.monotonic()) / SPANS_PER_SECOND

    def run(self) -> float | None:
        """Lets those go on whose time has come, at most for a stretch; returns when to call again, None: not now."""
        order = self._order
        now = time.monotonic()
        until = now + STRETCH_SECONDS
        while order and order[0] <= now * SPANS_PER_SECOND and now < until:
            flows = self._spans[order[0]]
            ready = self._collect(flows, now)
            if not flows:
                del self._spans[heappop(order)]
            self._send(ready, time.monotonic())
            now = time.monotonic()
        return order[0] / SPANS_PER_SECOND if order else None

    def _collect(self, flows: deque[Flow], now: float) -> list[tuple[Flow, bytes]]:
        """Those of the first flows, taken out, that do not need their greenlet, each with what it has to send."""
        ready: list[tuple[Flow, bytes]] = []
        size = 0
        before = len(flows)
        while flows and len(ready) < AT_ONCE and size < BYTES_AT_ONCE:
            flow = flows.popleft()
            framed = flow.collect(now)
            if framed is not None:
                ready.append((flow, framed))
                size += len(framed)
        self._waiting -= before - len(flows)
        return ready

    def _send(self, ready: list[tuple[Flow, bytes]], now: float) -> None:
        for flow, framed in ready:
            try:
                sent = flow.send(framed) if framed else 0
            except BlockingIOError:
                sent = 0
            except Exception as error:
                flow.stopped(framed, error)
                continue
            if sent == len(framed):
                self._put(flow, flow.resume_at, now)
            else:
                flow.stopped(framed[sent:])

    def _put(self, flow: Flow, resume_at: float | None, now: float) -> int:
        """Returns the number of the span."""
        self._waiting += 1
        if resume_at is None or resume_at <= now:
            span = int(now * SPANS_PER_SECOND)
        elif self._waiting > FEW:
            span = ceil(resume_at * WIDE_SPANS_PER_SECOND) * SPANS_TOGETHER
        else:
            span = ceil(resume_at * SPANS_PER_SECOND)
        flows = self._spans.get(span)
        if flows is None:
            self._spans[span] = deque((flow,))
            heappush(self._order, span)
        else:
            flows.append(flow)
        return span
