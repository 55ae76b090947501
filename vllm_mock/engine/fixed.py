"""FixedEngine: every request's whole timeline is known when it leaves the waiting queue."""

import time
from collections.abc import Callable, Sequence

from vllm_mock.engine.block_hash import BlockHash, BlockHasher
from vllm_mock.engine.handle import RUNNING, WAITING, RequestHandle
from vllm_mock.engine.latency import LatencyModel
from vllm_mock.engine.observer import EngineObserver
from vllm_mock.engine.removable_heap import RemovableHeap
from vllm_mock.engine.request import EngineRequest
from vllm_mock.engine.scheduled import ScheduledEngine
from vllm_mock.settings import Settings
from vllm_mock.turns import give_way

# Requests that end in one go, while nobody else is served: some milliseconds.
MOST_AT_ONCE = 100


class FixedEngine(ScheduledEngine):
    """Latencies are constants (see LatencyModel), so a token costs the engine nothing.

    Admission reserves KV blocks for prompt and whole output; hence nothing is preempted for want of blocks.
    Time advances lazily: whoever calls first makes up for what happened since, each event at its
    exact instant. Only while requests wait does a thread advance it, so that they wake in time.

    `clock` gives the current time in monotonic seconds.
    """

    def __init__(
        self,
        settings: Settings,
        observer: EngineObserver | None = None,
        clock: Callable[[], float] = time.monotonic,
        hasher: BlockHasher | None = None,
    ) -> None:
        super().__init__(settings, observer, clock, hasher)
        self._latency = LatencyModel(settings)
        self._ends: RemovableHeap[RequestHandle] = RemovableHeap()
        self._wakes_at = 0.0

    def finish(self, handle: RequestHandle) -> None:
        """All tokens of this request are delivered: frees it, unless its time came before."""
        with self._lock:
            now = self._present(self._advance())
            if handle.state == RUNNING:
                self._ends.remove(handle)
                self._finish(handle, now)
            self._notify()

    def advance(self, each_running: Callable[[RequestHandle, float], None] | None = None) -> None:
        """Brings the engine up to the present; then calls `each_running(handle, now)` for all that run.

        The calls are made with the lock held, as those of the observer.
        """
        with self._lock:
            now = self._advance()
            if each_running is not None:
                for handle in self._scheduler.running:
                    each_running(handle, now)

    def wait_for_start(self, handle: RequestHandle) -> None:
        """Blocks until a queued request starts or is aborted."""
        with self._lock:
            self._advance()
            if handle.state != WAITING:
                return
            started = handle.started_event()
        started.wait()

    # ---- What ScheduledEngine asks for

    def _advance(self) -> float:
        """Frees what has ended by now and starts what waited, each at its own instant; returns the present."""
        while self._held_since is None:
            now = self._clock()
            for _ in range(MOST_AT_ONCE):
                if (first := self._ends.first()) is None or first[0] > now:
                    return now
                self._finish(self._ends.pop(), first[0])
            # As if the lock had come later: whoever calls looks at the engine only after this.
            self._lock.release()
            give_way()
            self._lock.acquire()
        return self._held_since

    def _new_handle(self, request: EngineRequest, block_hashes: Sequence[BlockHash]) -> RequestHandle:
        return RequestHandle(self, request, block_hashes)

    def _enqueue(self, handles: Sequence[RequestHandle], now: float) -> None:
        for handle in handles:
            if not self._admits:
                self._scheduler.queue(handle)
            elif self._scheduler.start_or_queue(handle):
                self._start(handle, now)

    def _take_out(self, handle: RequestHandle, now: float) -> None:
        self._ends.remove(handle)
        self._scheduler.abort(handle, handle.tokens_due(now))

    def _go_on(self, now: float) -> None:
        self._admit(now)
        self._notify()

    def _postpone(self, since: float, seconds: float) -> None:
        for handle in self._scheduler.running:
            self._delay(handle, since, seconds)

    def _recompute(self, now: float) -> None:
        for handle in self._scheduler.running:
            assert handle.timeline is not None
            known = handle.num_prompt_tokens + handle.tokens_due(now)
            lost = self._latency.recomputation(known) if handle.timeline.first <= now else now - handle.scheduled
            self._delay(handle, now, lost)
            handle.num_preemptions += 1
            handle.disturbed = True
            self._observer.preempted(handle)
        self._notify()

    def _computed(self, handle: RequestHandle, now: float) -> int:
        return handle.tokens_due(now)

    def _fetching(self, now: float) -> int:
        return sum(handle.request.loads_kv and handle.first_token_due > now for handle in self._scheduler.running)

    def _needs_thread(self) -> bool:
        self._notify()
        if self._thread_runs or not self._scheduler.waiting or not self._admits:
            return False
        self._thread_runs = True
        return True

    def _run(self) -> None:
        """The thread: advances at each end of a request, for as long as others wait."""
        with self._lock:
            try:
                self._advance_while_waiting()
            finally:
                self._thread_runs = False

    def _advance_while_waiting(self) -> None:
        self._advance()
        # While paused nothing leaves the queue; resume() starts a new thread.
        while self._scheduler.waiting and self._admits and (first := self._ends.first()) is not None:
            self._wakes_at = first[0]
            self._changed.wait(max(0.0, first[0] - self._clock()))
            self._advance()

    def _notify(self) -> None:
        """Wakes the thread if it would sleep for too long."""
        if self._thread_runs:
            first = self._ends.first()
            if not self._scheduler.waiting or first is None or first[0] < self._wakes_at:
                self._changed.notify()

    def _admit(self, now: float) -> None:
        """Room was made: starts those that it lets start."""
        if self._scheduler.waiting and self._admits:
            for handle in self._scheduler.admit():
                self._start(handle, now)
                handle.wake()

    def _delay(self, handle: RequestHandle, since: float, seconds: float) -> None:
        """What a running request still gets after `since` comes later."""
        assert handle.timeline is not None
        handle.timeline = handle.timeline.postponed(since, seconds)
        self._ends.remove(handle)
        self._ends.push(handle.timeline.last, handle)

    def _start(self, handle: RequestHandle, now: float) -> None:
        uncached = handle.num_prompt_tokens - handle.num_cached_tokens
        output = len(handle.request.output_token_ids)
        running = len(self._scheduler.running)
        handle.scheduled = now
        group = handle.group
        # A choice that finds its prompt in the cache waits for the one that computes it.
        earliest = group.first_due if group is not None else 0.0
        handle.timeline = self._latency.timeline(
            now,
            uncached,
            output,
            running,
            earliest=earliest,
            loads_kv=handle.request.loads_kv,
            delay=handle.request.delay,
        )
        if group is not None:
            group.first_due = handle.timeline.first
        self._ends.push(handle.timeline.last, handle)
        self._observer.scheduled(handle)

    def _finish(self, handle: RequestHandle, now: float) -> None:
        self._scheduler.finish(handle)
        handle.finished_at = now
        self._observer.finished(handle)
        self._admit(now)
