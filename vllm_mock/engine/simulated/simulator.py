"""Simulator: the engine whose tokens come when a simulated GPU has computed them."""

import sys
import time
from collections.abc import Callable, Sequence

from vllm_mock.engine.block_hash import BlockHash, BlockHasher
from vllm_mock.engine.handle import RequestHandle
from vllm_mock.engine.observer import EngineObserver
from vllm_mock.engine.request import EngineRequest
from vllm_mock.engine.scheduled import ScheduledEngine
from vllm_mock.engine.simulated.clock import SimulatedClock
from vllm_mock.engine.simulated.gpu import NEVER, SimulatedGPU
from vllm_mock.engine.simulated.handle import SimulatedHandle
from vllm_mock.engine.step_time import StepTime
from vllm_mock.settings import Settings

# How long a consumer sleeps before it looks whether it missed being woken.
_PATIENCE_SECONDS = 0.25
# The thread lets others in between two steps, even when it is late.
_LEAST_PAUSE_SECONDS = 1e-4
_MOST_LOGGED = 100


class Simulator(ScheduledEngine):
    """A SimulatedGPU in wall-clock time, or `clock.scale` times as fast. Timestamps are simulated seconds.

    A thread steps it at the exact instants; whoever looks before the thread woke up does so in its place, so a late
    thread changes nothing about the times of tokens (the observer is told how late it was).
    """

    def __init__(
        self,
        settings: Settings,
        step_time: StepTime,
        observer: EngineObserver | None = None,
        hasher: BlockHasher | None = None,
        clock: SimulatedClock | None = None,
    ) -> None:
        self._time = clock or SimulatedClock(settings.time_scale)
        super().__init__(settings, observer, self._time, hasher, in_steps=True)
        self._gpu = SimulatedGPU(settings, self._scheduler, step_time, self._observer, self._log_failure)
        self._frontend = settings.frontend_latency
        self._wakes_at = -NEVER
        self._logged: set[str] = set()

    def finish(self, handle: RequestHandle) -> None:
        """All tokens of this request are delivered, so it has ended; the observer hears of it now at the latest."""
        self.advance()

    def advance(self, each_running: Callable[[RequestHandle, float], None] | None = None) -> None:
        """Brings the engine up to the present. Its observer is told of each step, so `each_running` is not needed."""
        with self._lock:
            self._advance()

    # ---- What handles ask

    def wait_for_start(self, handle: RequestHandle) -> None:
        """Blocks until a queued request's first token has its time, or the request is aborted."""
        assert isinstance(handle, SimulatedHandle)
        self.wait_for_token(handle, 0)

    def due(self, handle: SimulatedHandle, number: int) -> float | None:
        """When output token `number` is due on the wall's clock; None while that is unknown."""
        with self._lock:
            due = handle.due(number)
            if due is None:
                self._advance()
                due = handle.due(number)
        return None if due is None else self._time.wall(due)

    def wait_for_token(self, handle: SimulatedHandle, number: int) -> None:
        """Blocks until the time of output token `number` may be known, or the request is aborted."""
        with self._lock:
            self._advance()
            if handle.aborted or handle.due(number) is not None:
                return
            event = handle.started_event()
            event.clear()
        event.wait(_PATIENCE_SECONDS)

    # ---- What ScheduledEngine asks for

    def _advance(self) -> float:
        if self._held_since is not None:
            self._scheduler.receive(self._clock())
            return self._held_since
        now = self._clock()
        late = now - self._gpu.next_event
        if late >= 0:
            self._observer.late(late / self._time.scale)
            self._gpu.advance(now)
        return now

    def _new_handle(self, request: EngineRequest, block_hashes: Sequence[BlockHash]) -> SimulatedHandle:
        request.arrival = self._time.simulated(request.arrival)
        return SimulatedHandle(self, request, block_hashes)

    def _enqueue(self, handles: Sequence[RequestHandle], now: float) -> None:
        for handle in handles:
            # What this server has taken so far is part of what vLLM's frontend takes.
            handle.queued = max(handle.queued, handle.request.arrival + self._frontend)
            self._scheduler.send(handle)
        self._scheduler.receive(now)
        self._go_on(now)

    def _take_out(self, handle: RequestHandle, now: float) -> None:
        assert isinstance(handle, SimulatedHandle)
        self._scheduler.abort(handle, self._gpu.remove(handle, now))

    def _go_on(self, now: float) -> None:
        """Starts what can start now, and wakes the thread if it would sleep for too long."""
        if self._held_since is None:
            self._gpu.launch(now)
            if self._gpu.next_event < self._wakes_at:
                self._changed.notify()

    def _postpone(self, since: float, seconds: float) -> None:
        self._gpu.postpone(since + seconds, seconds)

    def _allow(self, admits: bool) -> None:
        super()._allow(admits)
        self._gpu.admits = admits

    def _recompute(self, now: float) -> None:
        self._gpu.recompute()
        self._go_on(now)

    def _computed(self, handle: RequestHandle, now: float) -> int:
        assert isinstance(handle, SimulatedHandle)
        return handle.tokens_due(now) if self._gpu.decodes(handle) else 0

    def _fetching(self, now: float) -> int:
        return self._gpu.fetching

    def _needs_thread(self) -> bool:
        scheduler = self._scheduler
        if self._thread_runs or not (scheduler.running or scheduler.waiting or scheduler.arriving):
            return False
        self._thread_runs = True
        return True

    def _run(self) -> None:
        """The thread: waits for the end of each step."""
        with self._changed:
            while True:
                self._advance()
                self._wakes_at = self._gpu.next_event if self._held_since is None else NEVER
                if self._wakes_at == NEVER:
                    self._changed.wait()
                else:
                    pause = self._time.wall(self._wakes_at) - time.monotonic()
                    self._changed.wait(max(pause, _LEAST_PAUSE_SECONDS))

    def _log_failure(self, error: Exception) -> None:
        """Once for each text: a broken StepTime must not fill the log."""
        text = f"{type(error).__name__}: {error}"
        if text not in self._logged and len(self._logged) < _MOST_LOGGED:
            self._logged.add(text)
            print(f"error: the time of a step is unknown, its requests failed: {text}", file=sys.stderr, flush=True)
