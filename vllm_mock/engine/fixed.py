"""FixedEngine: every request's whole timeline is known when it leaves the waiting queue."""

import threading
import time
from collections.abc import Callable, Container, Sequence

from vllm_mock.engine.block_hash import BlockHasher
from vllm_mock.engine.handle import RUNNING, WAITING, RequestHandle, SamplingGroup
from vllm_mock.engine.kv_events import KVEvent
from vllm_mock.engine.kv_residency import kv_residency
from vllm_mock.engine.latency import LatencyModel
from vllm_mock.engine.observer import EngineObserver, NullObserver
from vllm_mock.engine.removable_heap import RemovableHeap
from vllm_mock.engine.request import EnginePaused, EngineRequest, QueueFull
from vllm_mock.engine.scheduler import Scheduler
from vllm_mock.settings import Settings


class FixedEngine:
    """Latencies are constants (see LatencyModel), so a token costs the engine nothing.

    Admission reserves KV blocks for prompt and whole output; hence nothing is ever preempted.
    Time advances lazily: whoever calls first makes up for what happened since, each event at its
    exact instant. Only while requests wait does a thread advance it, so that they wake in time.

    `clock` gives the current time in monotonic seconds. With a `hasher` the events of the prefix cache are kept
    for take_kv_events().
    """

    def __init__(
        self,
        settings: Settings,
        observer: EngineObserver | None = None,
        clock: Callable[[], float] = time.monotonic,
        hasher: BlockHasher | None = None,
    ) -> None:
        self._scheduler = Scheduler(settings, hasher)
        self._latency = LatencyModel(settings)
        self._observer = observer or NullObserver()
        self._clock = clock
        self._ends: RemovableHeap[RequestHandle] = RemovableHeap()
        self._scheduler.kv.residency = kv_residency(settings, self._clock, self._observer.block_evicted)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._thread_runs = False
        self._wakes_at = 0.0
        self._rejects = False
        self._paused = False
        self._held_since: float | None = None

    @property
    def now(self) -> float:
        """The engine's time in monotonic seconds."""
        return self._clock()

    @property
    def running(self) -> int:
        """Requests that have left the queue and are not finished."""
        self.advance()
        return len(self._scheduler.running)

    @property
    def waiting(self) -> int:
        """Requests in the waiting queue."""
        self.advance()
        return len(self._scheduler.waiting)

    @property
    def deferred(self) -> int:
        """Of the waiting requests, those whose LoRA adapter has no slot."""
        self.advance()
        return self._scheduler.deferred

    def adapters(self) -> tuple[list[str], list[str]]:
        """Names of the LoRA adapters with running requests, and of those with waiting ones."""
        with self._lock:
            self._advance(self._clock())
            return list(self._scheduler.running_adapters), self._scheduler.waiting.adapters()

    def kv_fetches(self) -> tuple[int, int]:
        """Requests whose KV cache comes from another instance: those that wait, and those whose transfer runs."""
        with self._lock:
            now = self._clock()
            self._advance(now)
            running = self._scheduler.running
            fetching = sum(handle.request.loads_kv and handle.first_token_due > now for handle in running)
            return sum(handle.request.loads_kv for handle in self._scheduler.waiting.items()), fetching

    @property
    def kv_cache_usage(self) -> float:
        """The share of KV blocks in use, 0..1."""
        self.advance()
        return self._scheduler.kv.used_blocks / self._scheduler.kv.num_blocks

    def submit(self, request: EngineRequest) -> RequestHandle:
        """Queues one request. Raises QueueFull or NeverFits."""
        return self.submit_all((request,))[0]

    def submit_all(self, requests: Sequence[EngineRequest]) -> list[RequestHandle]:
        """Queues all of these requests, or none. Raises QueueFull, NeverFits or EnginePaused."""
        handles = self._handles(requests)
        with self._lock:
            if self._rejects:
                raise EnginePaused
            now = self._clock()
            self._advance(now)
            refused = self._scheduler.refusals(handles, now)
            if refused:
                for reason in set(refused):
                    self._observer.rejected(reason, refused.count(reason))
                raise QueueFull(refused[0])
            for handle in handles:
                handle.queued = now
                if self._paused:
                    self._scheduler.queue(handle)
                elif self._scheduler.start_or_queue(handle):
                    self._start(handle, now)
            needs_thread = self._needs_thread()
        if needs_thread:
            threading.Thread(target=self._run_clock, name="engine-clock", daemon=True).start()
        return handles

    def finish(self, handle: RequestHandle) -> None:
        """All tokens of this request are delivered: frees it, unless its time came before."""
        with self._lock:
            now = self._clock()
            self._advance(now)
            if handle.state == RUNNING:
                self._ends.remove(handle)
                self._finish(handle, now)
            self._notify()

    def abort(self, handle: RequestHandle) -> None:
        """Takes a request out, queued or running, and lets nobody wait for it any longer."""
        with self._lock:
            now = self._clock()
            self._advance(now)
            handle.aborted = handle.disturbed = True
            if handle.state in (WAITING, RUNNING):
                self._ends.remove(handle)
                self._scheduler.abort(handle, handle.tokens_due(self._now()))
                handle.finished_at = now
                self._observer.aborted(handle)
                self._admit(now)
            handle.wake()
            self._notify()

    def abort_all(self) -> int:
        """Aborts every request, queued ones first; returns how many."""
        with self._lock:
            handles = self._scheduler.waiting.items() + list(self._scheduler.running)
        for handle in handles:
            handle.abort()
        return len(handles)

    def pause(self, *, hold: bool = False, rejects: bool | None = None) -> None:
        """Let nothing leave the queue until resume(). What runs goes on, or with `hold` stands still: time stops.

        New requests wait in the queue, or are refused if `rejects`; None leaves that as it is.
        """
        with self._lock:
            now = self._clock()
            self._advance(now)
            self._paused = True
            if rejects is not None:
                self._rejects = rejects
            if not hold:
                self._let_go(now)
            elif self._held_since is None:
                self._held_since = now
                for handle in self._scheduler.running:
                    handle.held = handle.disturbed = True

    def resume(self) -> None:
        """Take requests again; those that were held go on where they were, and those that waited may start."""
        with self._lock:
            now = self._clock()
            self._advance(now)
            self._rejects = self._paused = False
            self._let_go(now)
            self._admit(now)
            needs_thread = self._needs_thread()
        if needs_thread:
            threading.Thread(target=self._run_clock, name="engine-clock", daemon=True).start()

    def stop(self, request_ids: Container[str] | None = None) -> int:
        """End requests, all of them by default, with what they have: their finish reason is abort.

        Returns how many sequences and, as vLLM counts, how many groups of sequences that were.
        """
        with self._lock:
            now = self._now()
            self._advance(now)
            handles = self._scheduler.waiting.items() + list(self._scheduler.running)
            if request_ids is not None:
                handles = [handle for handle in handles if handle.request.request_id in request_ids]
            for handle in handles:
                self._stop(handle, now)
            self._admit(now)
            self._notify()
        return len(handles) + len({id(handle.group) for handle in handles if handle.group is not None})

    @property
    def idle(self) -> bool:
        """Nothing runs and nothing waits."""
        with self._lock:
            self._advance(self._clock())
            return not self._scheduler.running and not self._scheduler.waiting

    def advance(self, each_running: Callable[[RequestHandle, float], None] | None = None) -> None:
        """Brings the engine up to the present; then calls `each_running(handle, now)` for all that run.

        The calls are made with the lock held, as those of the observer.
        """
        with self._lock:
            now = self._clock()
            self._advance(now)
            if each_running is not None:
                now = self._now()
                for handle in self._scheduler.running:
                    each_running(handle, now)

    def reset_prefix_cache(self, *, running_too: bool = False) -> bool:
        """Forgets all cached blocks; see Scheduler.reset_prefix_cache."""
        with self._lock:
            self._advance(self._clock())
            return self._scheduler.reset_prefix_cache(running_too=running_too)

    def wait_for_kv_events(self, timeout: float) -> None:
        """Blocks until something happens to cached blocks, for at most `timeout` seconds."""
        if self._scheduler.events is not None:
            self._scheduler.events.pending.wait(timeout)

    def take_kv_events(self) -> list[KVEvent]:
        """What happened to cached blocks since the last call; blocks that outputs have filled by now are among it."""
        with self._lock:
            now = self._clock()
            self._advance(now)
            for handle in self._scheduler.running:
                self._scheduler.cache_output(handle, handle.tokens_due(self._now()))
            events = self._scheduler.events
            return [] if events is None else events.take()

    def wait_for_start(self, handle: RequestHandle) -> None:
        """Blocks until a queued request starts or is aborted."""
        with self._lock:
            self._advance(self._clock())
            if handle.state != WAITING:
                return
            started = handle.started_event()
        started.wait()

    def _handles(self, requests: Sequence[EngineRequest]) -> list[RequestHandle]:
        handles: list[RequestHandle] = []
        group: SamplingGroup | None = None
        for request in requests:
            self._scheduler.check_fits(request)
            if request.index == 0:
                hashes = self._scheduler.prompt_hashes(request)
                group = SamplingGroup(request.n) if request.n > 1 else None
            handle = RequestHandle(self, request, hashes)
            handle.group = group
            handles.append(handle)
        return handles

    def _now(self) -> float:
        """The present, which stands still while the engine is held."""
        return self._clock() if self._held_since is None else self._held_since

    def _let_go(self, now: float) -> None:
        since, self._held_since = self._held_since, None
        if since is not None:
            for handle in self._scheduler.running:
                self._go_on(handle, since, now - since)

    def _go_on(self, handle: RequestHandle, since: float, seconds: float) -> None:
        """Moves what a running request still has to get by the time of a pause."""
        assert handle.timeline is not None
        handle.timeline = handle.timeline.postponed(since, seconds)
        self._ends.remove(handle)
        self._ends.push(handle.timeline.last, handle)
        handle.held = False

    def _stop(self, handle: RequestHandle, now: float) -> None:
        handle.cut = handle.tokens_due(now)
        handle.aborted = handle.disturbed = True
        handle.held = False
        self._ends.remove(handle)
        self._scheduler.abort(handle, handle.cut)
        handle.finished_at = now
        self._observer.stopped(handle)
        handle.wake()

    def _advance(self, now: float) -> None:
        """Frees what has ended by `now` and starts what waited, each at its own instant."""
        if self._held_since is not None:
            return
        while (first := self._ends.first()) is not None and first[0] <= now:
            self._finish(self._ends.pop(), first[0])

    def _admit(self, now: float) -> None:
        """Room was made: starts those that it lets start."""
        if self._scheduler.waiting and not self._paused:
            for handle in self._scheduler.admit():
                self._start(handle, now)
                handle.wake()

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

    def _needs_thread(self) -> bool:
        """Whether the caller has to start the clock thread (outside the lock: starting one takes long)."""
        self._notify()
        if self._thread_runs or not self._scheduler.waiting or self._paused:
            return False
        self._thread_runs = True
        return True

    def _notify(self) -> None:
        """Wakes the clock thread if it would sleep for too long."""
        if self._thread_runs:
            first = self._ends.first()
            if not self._scheduler.waiting or first is None or first[0] < self._wakes_at:
                self._changed.notify()

    def _run_clock(self) -> None:
        """The clock thread: advances at each end of a request, for as long as others wait."""
        with self._lock:
            try:
                self._advance_while_waiting()
            finally:
                self._thread_runs = False

    def _advance_while_waiting(self) -> None:
        self._advance(self._clock())
        # While paused nothing leaves the queue; resume() starts a new thread.
        while self._scheduler.waiting and not self._paused and (first := self._ends.first()) is not None:
            self._wakes_at = first[0]
            self._changed.wait(max(0.0, first[0] - self._clock()))
            self._advance(self._clock())
