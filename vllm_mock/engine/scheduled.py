"""ScheduledEngine: what both engines do around their Scheduler, whatever decides when tokens come."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Sequence

from vllm_mock.engine.block_hash import BlockHash, BlockHasher
from vllm_mock.engine.handle import RUNNING, WAITING, RequestHandle, SamplingGroup
from vllm_mock.engine.kv_events import KVEvent
from vllm_mock.engine.kv_residency import kv_residency
from vllm_mock.engine.observer import EngineObserver, NullObserver
from vllm_mock.engine.request import EnginePaused, EngineRequest, QueueFull
from vllm_mock.engine.scheduler import Scheduler
from vllm_mock.settings import Settings


class ScheduledEngine(ABC):
    """Requests in, handles out, under one lock. `clock` gives the engine's seconds.

    With a `hasher` the events of the prefix cache are kept for take_kv_events().
    """

    def __init__(
        self,
        settings: Settings,
        observer: EngineObserver | None,
        clock: Callable[[], float],
        hasher: BlockHasher | None,
        *,
        in_steps: bool = False,
    ) -> None:
        self._scheduler = Scheduler(settings, hasher, in_steps=in_steps)
        self._observer = observer or NullObserver()
        self._clock = clock
        self._scheduler.kv.residency = kv_residency(settings, clock, self._observer.block_evicted)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._thread_runs = False
        self._rejects = False
        self._admits = True
        self._held_since: float | None = None

    # ---- What an engine adds; all are called with the lock held

    @abstractmethod
    def _advance(self) -> float:
        """Brings the engine up to the present, and returns that: it stands still while the engine is held."""

    @abstractmethod
    def _new_handle(self, request: EngineRequest, block_hashes: Sequence[BlockHash]) -> RequestHandle: ...

    @abstractmethod
    def _enqueue(self, handles: Sequence[RequestHandle], now: float) -> None:
        """New requests wait, or start at once."""

    @abstractmethod
    def _take_out(self, handle: RequestHandle, now: float) -> None:
        """Frees what an unfinished request holds."""

    @abstractmethod
    def _go_on(self, now: float) -> None:
        """Somebody left, or is allowed to start: starts what can start."""

    @abstractmethod
    def _postpone(self, since: float, seconds: float) -> None:
        """All that was to come after `since` comes later, since time stood still."""

    @abstractmethod
    def _recompute(self, now: float) -> None:
        """Those that run have lost what was computed of them."""

    @abstractmethod
    def _computed(self, handle: RequestHandle, now: float) -> int:
        """Tokens of a running request's output whose blocks may be cached."""

    @abstractmethod
    def _fetching(self, now: float) -> int:
        """Requests whose KV cache is on its way from another instance."""

    @abstractmethod
    def _needs_thread(self) -> bool:
        """Whether a thread has to be started, which counts as running then."""

    @abstractmethod
    def _run(self) -> None:
        """The thread; called without the lock."""

    # ---- What there is to see

    @property
    def now(self) -> float:
        """The engine's time in monotonic seconds, simulated ones in a simulation."""
        return self._clock()

    @property
    def running(self) -> int:
        """Requests that hold a seat."""
        with self._lock:
            self._advance()
            return len(self._scheduler.running)

    @property
    def waiting(self) -> int:
        """Requests in the waiting queue, preempted ones included."""
        with self._lock:
            self._advance()
            return len(self._scheduler.waiting)

    @property
    def deferred(self) -> int:
        """Of the waiting requests, those whose LoRA adapter has no slot."""
        with self._lock:
            self._advance()
            return self._scheduler.deferred

    @property
    def idle(self) -> bool:
        """Nothing runs, nothing waits, and nothing is on its way to the queue."""
        with self._lock:
            self._advance()
            scheduler = self._scheduler
            return not scheduler.running and not scheduler.waiting and not scheduler.arriving

    @property
    def kv_cache_usage(self) -> float:
        """The share of KV blocks in use, 0..1."""
        with self._lock:
            self._advance()
            return self._scheduler.kv.used_blocks / self._scheduler.kv.num_blocks

    def adapters(self) -> tuple[list[str], list[str]]:
        """Names of the LoRA adapters with running requests, and of those with waiting ones."""
        with self._lock:
            self._advance()
            return list(self._scheduler.running_adapters), self._scheduler.waiting.adapters()

    def kv_fetches(self) -> tuple[int, int]:
        """Requests whose KV cache comes from another instance: those that wait, and those whose transfer runs."""
        with self._lock:
            now = self._advance()
            waiting = self._scheduler.waiting.items()
            return sum(handle.request.loads_kv for handle in waiting), self._fetching(now)

    # ---- Requests

    def submit(self, request: EngineRequest) -> RequestHandle:
        """Queues one request. Raises QueueFull, NeverFits or EnginePaused."""
        return self.submit_all((request,))[0]

    def submit_all(self, requests: Sequence[EngineRequest]) -> list[RequestHandle]:
        """Queues all of these requests, or none. Raises QueueFull, NeverFits or EnginePaused."""
        handles = self._handles(requests)
        with self._lock:
            now = self._advance()
            if self._rejects:
                raise EnginePaused
            refused = self._scheduler.refusals(handles, now)
            if refused:
                for reason in set(refused):
                    self._observer.rejected(reason, refused.count(reason))
                raise QueueFull(refused[0])
            queued = self._present(now)
            for handle in handles:
                handle.queued = queued
            self._enqueue(handles, now)
            needs_thread = self._needs_thread()
        if needs_thread:
            self._start_thread()
        return handles

    def abort(self, handle: RequestHandle) -> None:
        """Takes a request out, queued or running, and lets nobody wait for it any longer."""
        with self._lock:
            now = self._advance()
            handle.aborted = handle.disturbed = True
            if handle.state in (WAITING, RUNNING):
                self._take_out(handle, now)
                handle.finished_at = self._present(now)
                self._observer.aborted(handle)
                self._go_on(now)
            handle.wake()

    def abort_all(self) -> int:
        """Aborts every request, queued ones first; returns how many."""
        with self._lock:
            handles = self._unfinished()
        for handle in handles:
            handle.abort()
        return len(handles)

    def stop(self, request_ids: Container[str] | None = None) -> int:
        """End requests, all of them by default, with what they have: their finish reason is abort.

        Returns how many sequences and, as vLLM counts, how many groups of sequences that were.
        """
        with self._lock:
            now = self._advance()
            handles = self._unfinished()
            if request_ids is not None:
                handles = [handle for handle in handles if handle.request.request_id in request_ids]
            for handle in handles:
                handle.cut = handle.tokens_due(now)
                handle.aborted = handle.disturbed = True
                handle.held = False
                self._take_out(handle, now)
                handle.finished_at = self._present(now)
                self._observer.stopped(handle)
                handle.wake()
            self._go_on(now)
        return len(handles) + len({id(handle.group) for handle in handles if handle.group is not None})

    # ---- Pauses

    def pause(self, *, hold: bool = False, rejects: bool | None = None) -> None:
        """Let nothing leave the queue until resume(). What runs goes on, or with `hold` stands still: time stops.

        New requests wait in the queue, or are refused if `rejects`; None leaves that as it is.
        """
        with self._lock:
            now = self._advance()
            self._allow(False)
            if rejects is not None:
                self._rejects = rejects
            if not hold:
                self._let_go()
            elif self._held_since is None:
                self._held_since = now
                for handle in self._scheduler.running:
                    handle.held = handle.disturbed = True

    def resume(self) -> None:
        """Take requests again; those that were held go on where they were, and those that waited may start."""
        with self._lock:
            self._advance()
            self._rejects = False
            self._allow(True)
            self._let_go()
            needs_thread = self._needs_thread()
        if needs_thread:
            self._start_thread()

    # ---- The prefix cache

    def reset_prefix_cache(self, *, running_too: bool = False) -> bool:
        """Forgets all cached blocks; see Scheduler.reset_prefix_cache. What runs is computed anew."""
        with self._lock:
            now = self._advance()
            done = self._scheduler.reset_prefix_cache(running_too=running_too)
            if done and running_too:
                self._recompute(now)
            return done

    def wait_for_kv_events(self, timeout: float) -> None:
        """Blocks until something happens to cached blocks, for at most `timeout` seconds."""
        if self._scheduler.events is not None:
            self._scheduler.events.pending.wait(timeout)

    def take_kv_events(self) -> list[KVEvent]:
        """What happened to cached blocks since the last call; blocks that outputs have filled by now are among it."""
        with self._lock:
            now = self._advance()
            for handle in self._scheduler.running:
                self._scheduler.cache_output(handle, self._computed(handle, now))
            events = self._scheduler.events
            return [] if events is None else events.take()

    def _handles(self, requests: Sequence[EngineRequest]) -> list[RequestHandle]:
        handles: list[RequestHandle] = []
        group: SamplingGroup | None = None
        for request in requests:
            self._scheduler.check_fits(request)
            if request.index == 0:
                hashes = self._scheduler.prompt_hashes(request)
                group = SamplingGroup(request.n) if request.n > 1 else None
            handle = self._new_handle(request, hashes)
            handle.group = group
            handles.append(handle)
        return handles

    def _unfinished(self) -> list[RequestHandle]:
        """All requests, those that wait first."""
        return self._scheduler.not_started() + list(self._scheduler.running)

    def _allow(self, admits: bool) -> None:
        """Whether those that wait may start."""
        self._admits = admits

    def _present(self, now: float) -> float:
        """`now`, or what the clock says while that stands still."""
        return now if self._held_since is None else self._clock()

    def _let_go(self) -> None:
        """Time goes on, if it stood still."""
        since, self._held_since = self._held_since, None
        if since is not None:
            self._postpone(since, self._clock() - since)
            # Some of those that were held may wait now, since their cache was dropped.
            for handle in self._unfinished():
                handle.held = False
                handle.wake()
        self._go_on(self._advance())

    def _start_thread(self) -> None:
        """Outside the lock, since it takes long; not at the start, since a thread does not survive a fork."""
        threading.Thread(target=self._run, name="engine-clock", daemon=True).start()
