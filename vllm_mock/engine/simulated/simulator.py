"""Simulator: the engine whose tokens come when a simulated GPU has computed them."""

import sys
import threading
import time
from collections.abc import Callable, Container, Sequence

from vllm_mock.engine.block_hash import BlockHasher
from vllm_mock.engine.handle import RUNNING, WAITING, RequestHandle, SamplingGroup
from vllm_mock.engine.kv_events import KVEvent
from vllm_mock.engine.kv_residency import kv_residency
from vllm_mock.engine.observer import EngineObserver, NullObserver
from vllm_mock.engine.request import EnginePaused, EngineRequest, QueueFull
from vllm_mock.engine.scheduler import Scheduler
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


class Simulator:
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
        self._observer = observer or NullObserver()
        self._scheduler = Scheduler(settings, hasher)
        self._gpu = SimulatedGPU(settings, self._scheduler, step_time, self._observer, self._log_failure)
        self._clock = clock or SimulatedClock(settings.time_scale)
        self._scheduler.kv.residency = kv_residency(settings, self._clock, self._observer.block_evicted)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._thread_runs = False
        self._wakes_at = -NEVER
        self._rejects = False
        self._held_since: float | None = None
        self._logged: set[str] = set()

    @property
    def now(self) -> float:
        """The engine's time in simulated seconds."""
        return self._clock()

    @property
    def running(self) -> int:
        """Requests that hold a seat."""
        self.advance()
        return len(self._scheduler.running)

    @property
    def waiting(self) -> int:
        """Requests in the waiting queue, preempted ones included."""
        self.advance()
        return len(self._scheduler.waiting)

    @property
    def deferred(self) -> int:
        """Of the waiting requests, those whose LoRA adapter has no slot."""
        self.advance()
        return self._scheduler.deferred

    @property
    def idle(self) -> bool:
        """Nothing runs and nothing waits."""
        self.advance()
        return not self._scheduler.running and not self._scheduler.waiting

    @property
    def kv_cache_usage(self) -> float:
        """The share of KV blocks in use, 0..1."""
        self.advance()
        return self._scheduler.kv.used_blocks / self._scheduler.kv.num_blocks

    def adapters(self) -> tuple[list[str], list[str]]:
        """Names of the LoRA adapters with running requests, and of those with waiting ones."""
        with self._lock:
            self._advance()
            return list(self._scheduler.running_adapters), self._scheduler.waiting.adapters()

    def kv_fetches(self) -> tuple[int, int]:
        """Requests whose KV cache comes from another instance: those that wait, and those whose transfer runs."""
        with self._lock:
            self._advance()
            waiting = self._scheduler.waiting.items()
            return sum(handle.request.loads_kv for handle in waiting), self._gpu.fetching

    def submit(self, request: EngineRequest) -> RequestHandle:
        """Queues one request. Raises QueueFull, NeverFits or EnginePaused."""
        return self.submit_all((request,))[0]

    def submit_all(self, requests: Sequence[EngineRequest]) -> list[RequestHandle]:
        """Queues all of these requests, or none. Raises QueueFull, NeverFits or EnginePaused."""
        handles = self._handles(requests)
        with self._lock:
            if self._rejects:
                raise EnginePaused
            now = self._advance()
            refused = self._scheduler.refusals(handles, now)
            if refused:
                for reason in set(refused):
                    self._observer.rejected(reason, refused.count(reason))
                raise QueueFull(refused[0])
            for handle in handles:
                handle.queued = self._present(now)
                self._scheduler.queue(handle)
            self._launch(now)
            needs_thread, self._thread_runs = not self._thread_runs, True
        if needs_thread:
            # Outside the lock: it takes long. Here, since a thread does not survive a fork.
            threading.Thread(target=self._run, name="simulator", daemon=True).start()
        return handles

    def finish(self, handle: RequestHandle) -> None:
        """All tokens of this request are delivered, so it has ended; the observer hears of it now at the latest."""
        self.advance()

    def abort(self, handle: RequestHandle) -> None:
        """Takes a request out, queued or running, and lets nobody wait for it any longer."""
        with self._lock:
            now = self._advance()
            handle.aborted = handle.disturbed = True
            if handle.state in (WAITING, RUNNING):
                self._take_out(handle, now)
                self._observer.aborted(handle)
                self._launch(now)
            handle.wake()

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
            now = self._advance()
            self._gpu.admits = False
            if rejects is not None:
                self._rejects = rejects
            if not hold:
                self._let_go()
                self._launch(self._advance())
            elif self._held_since is None:
                self._held_since = now
                for handle in self._scheduler.running:
                    handle.held = handle.disturbed = True

    def resume(self) -> None:
        """Take requests again; those that were held go on where they were, and those that waited may start."""
        with self._lock:
            self._advance()
            self._rejects = False
            self._gpu.admits = True
            self._let_go()
            self._launch(self._advance())

    def stop(self, request_ids: Container[str] | None = None) -> int:
        """End requests, all of them by default, with what they have: their finish reason is abort.

        Returns how many sequences and, as vLLM counts, how many groups of sequences that were.
        """
        with self._lock:
            now = self._advance()
            handles = self._scheduler.waiting.items() + list(self._scheduler.running)
            if request_ids is not None:
                handles = [handle for handle in handles if handle.request.request_id in request_ids]
            for handle in handles:
                handle.cut = handle.tokens_due(now)
                handle.aborted = handle.disturbed = True
                handle.held = False
                self._take_out(handle, now)
                self._observer.stopped(handle)
                handle.wake()
            self._launch(now)
        return len(handles) + len({id(handle.group) for handle in handles if handle.group is not None})

    def advance(self, each_running: Callable[[RequestHandle, float], None] | None = None) -> None:
        """Brings the engine up to the present. Its observer is told of each step, so `each_running` is not needed."""
        with self._lock:
            self._advance()

    def reset_prefix_cache(self, *, running_too: bool = False) -> bool:
        """Forgets all cached blocks; see Scheduler.reset_prefix_cache."""
        with self._lock:
            self._advance()
            return self._scheduler.reset_prefix_cache(running_too=running_too)

    def wait_for_kv_events(self, timeout: float) -> None:
        """Blocks until something happens to cached blocks, for at most `timeout` seconds."""
        if self._scheduler.events is not None:
            self._scheduler.events.pending.wait(timeout)

    def take_kv_events(self) -> list[KVEvent]:
        """What happened to cached blocks since the last call; blocks that outputs have filled by now are among it."""
        with self._lock:
            now = self._advance()
            for handle in self._scheduler.running:
                assert isinstance(handle, SimulatedHandle)
                if self._gpu.decodes(handle):
                    self._scheduler.cache_output(handle, handle.tokens_due(now))
            events = self._scheduler.events
            return [] if events is None else events.take()

    def wait_for_start(self, handle: RequestHandle) -> None:
        """Blocks until a queued request's first token has its time, or the request is aborted."""
        assert isinstance(handle, SimulatedHandle)
        self.wait_for_token(handle, 0)

    # ---- What handles ask

    def due(self, handle: SimulatedHandle, number: int) -> float | None:
        """When output token `number` is due on the wall's clock; None while that is unknown."""
        with self._lock:
            due = handle.due(number)
            if due is None:
                self._advance()
                due = handle.due(number)
        return None if due is None else self._clock.wall(due)

    def wait_for_token(self, handle: SimulatedHandle, number: int) -> None:
        """Blocks until the time of output token `number` may be known, or the request is aborted."""
        with self._lock:
            self._advance()
            if handle.aborted or handle.due(number) is not None:
                return
            event = handle.started_event()
            event.clear()
        event.wait(_PATIENCE_SECONDS)

    def _handles(self, requests: Sequence[EngineRequest]) -> list[RequestHandle]:
        handles: list[RequestHandle] = []
        group: SamplingGroup | None = None
        for request in requests:
            self._scheduler.check_fits(request)
            if request.index == 0:
                hashes = self._scheduler.prompt_hashes(request)
                group = SamplingGroup(request.n) if request.n > 1 else None
            request.arrival = self._clock.simulated(request.arrival)
            handle = SimulatedHandle(self, request, hashes)
            handle.group = group
            handles.append(handle)
        return handles

    def _take_out(self, handle: RequestHandle, now: float) -> None:
        assert isinstance(handle, SimulatedHandle)
        tokens = self._gpu.remove(handle, now)
        handle.finished_at = self._present(now)
        self._scheduler.abort(handle, tokens)

    def _present(self, now: float) -> float:
        """`now`, or what the clock says while that stands still."""
        return now if self._held_since is None else self._clock()

    def _advance(self) -> float:
        """Brings the engine up to the present, and returns that: it stands still while the engine is held."""
        if self._held_since is not None:
            return self._held_since
        now = self._clock()
        late = now - self._gpu.next_event
        if late >= 0:
            self._observer.late(late / self._clock.scale)
            self._gpu.advance(now)
        return now

    def _launch(self, now: float) -> None:
        """Starts what can start now, and wakes the thread if it would sleep for too long."""
        if self._held_since is None:
            self._gpu.launch(now)
            if self._gpu.next_event < self._wakes_at:
                self._changed.notify()

    def _let_go(self) -> None:
        """Time goes on, if it stood still."""
        since, self._held_since = self._held_since, None
        if since is None:
            return
        self._gpu.postpone(self._clock() - since)
        for handle in self._scheduler.running:
            handle.held = False
            handle.wake()

    def _run(self) -> None:
        """The thread: waits for the end of each step."""
        with self._changed:
            while True:
                self._advance()
                self._wakes_at = self._gpu.next_event if self._held_since is None else NEVER
                if self._wakes_at == NEVER:
                    self._changed.wait()
                else:
                    pause = self._clock.wall(self._wakes_at) - time.monotonic()
                    self._changed.wait(max(pause, _LEAST_PAUSE_SECONDS))

    def _log_failure(self, error: Exception) -> None:
        """Once for each text: a broken StepTime must not fill the log."""
        text = f"{type(error).__name__}: {error}"
        if text not in self._logged and len(self._logged) < _MOST_LOGGED:
            self._logged.add(text)
            print(f"error: the time of a step is unknown, its requests failed: {text}", file=sys.stderr, flush=True)
