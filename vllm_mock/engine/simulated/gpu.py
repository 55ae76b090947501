"""SimulatedGPU: steps that take time, one after the other, in whatever time its caller lives in."""

import heapq
import math
from collections.abc import Callable

from vllm_mock.engine.latency import LatencyModel
from vllm_mock.engine.observer import EngineObserver
from vllm_mock.engine.scheduler import Scheduler
from vllm_mock.engine.simulated.former import StepFormer
from vllm_mock.engine.simulated.handle import SimulatedHandle
from vllm_mock.engine.simulated.lane import Lane
from vllm_mock.engine.step_time import Batch, StepTime
from vllm_mock.settings import Settings

NEVER = math.inf
# A step takes time, whatever its StepTime says: else a request could have all its tokens at one instant.
LEAST_STEP_SECONDS = 1e-6


class SimulatedGPU:
    """What runs, and when its tokens come. All times are seconds of the caller's clock, which may be virtual.

    With asynchronous scheduling the next step is scheduled when one starts: who arrives during step n has a first chunk
    in step n + 2, otherwise in n + 1.

    With p pipeline stages, up to p batches are in flight, each sequence in one of them: a batch that takes t seconds
    leaves the first stage free after t / p, and none overtakes another.

    A StepTime that raises, or has no finite time, ends the requests of that step and is reported to `on_failure`.
    `next_event` is when advance() has something to do; `admits`: those that wait may start. Nothing in here locks.
    """

    def __init__(
        self,
        settings: Settings,
        scheduler: Scheduler,
        step_time: StepTime,
        observer: EngineObserver,
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._scheduler = scheduler
        self._step_time = step_time
        self._observer = observer
        self._former = StepFormer(settings, scheduler, observer, self._fetch)
        self._latency = LatencyModel(settings)
        self.lanes = [Lane() for _ in range(settings.pipeline_parallel_size)]
        self._stages = settings.pipeline_parallel_size
        # Several batches in flight are scheduled ahead of each other anyway.
        self._ahead = settings.async_scheduling and self._stages == 1
        self._first_stage_free_at = -NEVER
        self._last_end = -NEVER
        # Requests whose KV cache is on its way: when it is there, and their order of admission.
        self._fetches: list[tuple[float, int, SimulatedHandle]] = []
        self.next_event = NEVER
        self.admits = True
        self._on_failure = on_failure
        self._recomputes = False

    def advance(self, now: float) -> None:
        """All that happens up to `now`, each event at its own instant."""
        while self.next_event <= now:
            at = self.next_event
            for lane in self.lanes:
                if lane.busy and lane.end <= at:
                    self._complete(lane, at)
            while self._fetches and self._fetches[0][0] <= at:
                self._fetched(heapq.heappop(self._fetches))
            self._scheduler.receive(at)
            self.launch(at)

    def launch(self, now: float) -> None:
        """Starts what can start, after advance(now): something came, went, or was allowed."""
        if now >= self._first_stage_free_at:
            for lane in self.lanes:
                if not lane.busy and self._launch(lane, now) and self._stages > 1:
                    break
        self.next_event = self._find_next_event(now)

    def remove(self, handle: SimulatedHandle, now: float) -> int | None:
        """Takes a request out of its lane, where its tokens due by `now` are its last.

        How many these are, None if it was not decoding.
        """
        lane = handle.lane
        if lane is None:
            return None
        tokens = handle.tokens_due(now)
        decodes = handle in lane.decoders
        lane.leave(handle)
        self._former.forget(handle)
        handle.close_segment(now)
        handle.counted = tokens
        return tokens if decodes else None

    def postpone(self, until: float, seconds: float) -> None:
        """All that is under way takes `seconds` longer: until then time stood still, but for the way to the queue."""
        self._scheduler.receive(until)
        for lane in self.lanes:
            if lane.busy:
                lane.end += seconds
        self._first_stage_free_at += seconds
        self._last_end += seconds
        self._fetches = [(at + seconds, order, handle) for at, order, handle in self._fetches]
        self.next_event = self._find_next_event(until)

    def recompute(self) -> None:
        """All that runs has lost its KV cache, and waits to be computed anew: after the step that it is in."""
        for handle in reversed(list(self._scheduler.running)):
            assert isinstance(handle, SimulatedHandle)
            lane = handle.lane
            assert lane is not None
            handle.lost = True
            if lane.busy and (handle in lane.decoders or handle in lane.prefilling):
                handle.doomed = self._recomputes = True
            else:
                self._former.preempt(handle)

    def decodes(self, handle: SimulatedHandle) -> bool:
        """Whether the prompt of a running request is computed."""
        return handle.lane is not None and handle in handle.lane.decoders

    @property
    def fetching(self) -> int:
        """Requests whose KV cache is on its way from a peer."""
        return sum(self._is_awaited(order, handle) for _, order, handle in self._fetches)

    def _find_next_event(self, now: float) -> float:
        ends = [lane.end for lane in self.lanes if lane.busy]
        if self._fetches:
            ends.append(self._fetches[0][0])
        if (first := self._scheduler.arriving.first()) is not None:
            ends.append(first[0])
        if self._stages > 1 and self._first_stage_free_at > now and not all(lane.busy for lane in self.lanes):
            ends.append(self._first_stage_free_at)
        return min(ends, default=NEVER)

    def _launch(self, lane: Lane, now: float) -> bool:
        """Forms and starts the next step of a lane; False if it has nothing to do."""
        while True:
            if not self._schedule(lane, now):
                return False
            try:
                seconds = self._seconds(lane)
            except Exception as error:
                self._on_failure(error)
                self._fail(lane, now)
                continue
            self._start(lane, now, max(seconds, LEAST_STEP_SECONDS))
            if self._ahead:
                self._former.form(lane, now, admits=self.admits)
            return True

    def _schedule(self, lane: Lane, now: float) -> bool:
        """Sees to it that the next step of a lane is scheduled, if it was not while the last one ran."""
        if lane.scheduled and (lane.decoders or lane.planned):
            return True
        if self._former.form(lane, now, admits=self.admits):
            return True
        # Whoever lost its blocks may start anew in them.
        return self._former.preempted and self._former.form(lane, now, admits=self.admits)

    def _start(self, lane: Lane, now: float, seconds: float) -> None:
        stage = seconds / self._stages
        self._first_stage_free_at = now + stage
        self._last_end = end = max(now + seconds, self._last_end + stage)
        step = lane.next_step
        lane.launch(end)
        for handle, (new, _) in lane.planned.items():
            handle.computed += new
            if handle.computed == handle.num_known_tokens:
                self._prefilled(handle, lane, step)
        lane.planned.clear()
        lane.scheduled = False
        for handle in lane.last_ones:
            handle.wake()

    def _prefilled(self, handle: SimulatedHandle, lane: Lane, step: int) -> None:
        """The step that was launched completes a prefill."""
        lane.completing.append(handle)
        del lane.prefilling[handle]
        handle.segment = step
        left = len(handle.request.output_token_ids) - len(handle.dues) - 1
        assert handle.allocation is not None
        lane.join(handle, step, handle.allocation.blocks * self._scheduler.kv.block_size - handle.computed, left)
        handle.wake()

    def _seconds(self, lane: Lane) -> float:
        batch = Batch(len(lane.decoders), lane.kv_tokens, list(lane.planned.values()))
        seconds = self._step_time.seconds(batch)
        if not 0 <= seconds < NEVER:
            raise ValueError(f"a step cannot take {seconds} s")
        return seconds

    def _complete(self, lane: Lane, at: float) -> None:
        """A step has ended: its tokens are there."""
        lane.busy = False
        step = lane.next_step - 1
        completed = [handle for handle in lane.completing if handle.lane is lane]
        lane.completing.clear()
        tokens = len(lane.decoders) + len(lane.preempted)
        if tokens:
            self._observer.stepped(at, tokens - len(completed), lane.gap, completed)
        for handle in lane.preempted:
            handle.leave_lane()
        lane.preempted.clear()
        for handle in lane.ending.pop(step, ()):
            self._finish(handle, at)
        if self._stages > 1 or self._recomputes:
            self._recomputes = False
            doomed = [handle for handle in (*lane.decoders, *lane.prefilling) if handle.doomed]
            # The first of them shall be the first one again.
            for handle in sorted(doomed, key=lambda handle: -handle.order):
                self._former.preempt(handle)

    def _finish(self, handle: SimulatedHandle, at: float) -> None:
        assert handle.lane is not None
        handle.lane.leave(handle)
        handle.leave_lane()
        handle.finished_at = at
        self._scheduler.finish(handle)
        self._observer.finished(handle)

    def _fail(self, lane: Lane, now: float) -> None:
        """The requests of a step that cannot be computed end here."""
        lane.scheduled = False
        for handle in (*lane.planned, *lane.decoders):
            tokens = self.remove(handle, now)
            handle.failed = handle.aborted = handle.disturbed = True
            handle.finished_at = now
            self._scheduler.abort(handle, tokens)
            self._observer.failed(handle)
            handle.wake()

    def _fetch(self, handle: SimulatedHandle, now: float) -> None:
        tokens = handle.num_known_tokens - handle.computed
        transfer = self._latency.transfer_latency(tokens) if handle.request.loads_kv else 0.0
        heapq.heappush(self._fetches, (now + transfer + handle.request.delay, handle.order, handle))

    def _fetched(self, fetch: tuple[float, int, SimulatedHandle]) -> None:
        """The KV cache of a prompt is there: only its last token is to be computed. Or a late prefill may begin."""
        _, order, handle = fetch
        if self._is_awaited(order, handle):
            assert handle.lane is not None
            if handle.request.loads_kv:
                handle.computed = handle.num_known_tokens - 1
            handle.lane.prefilling[handle] = None

    def _is_awaited(self, order: int, handle: SimulatedHandle) -> bool:
        return handle.lane is not None and handle.order == order
