"""StepFormer: which tokens of which sequences the next step of a lane computes, as vLLM's V1 scheduler decides."""

from collections.abc import Callable, Container

from vllm_mock.engine.handle import RequestHandle
from vllm_mock.engine.observer import EngineObserver
from vllm_mock.engine.request import EngineRequest
from vllm_mock.engine.scheduler import Scheduler
from vllm_mock.engine.simulated.handle import SimulatedHandle
from vllm_mock.engine.simulated.lane import Lane
from vllm_mock.settings import Settings

NO_LIMIT = 1 << 62


class StepFormer:
    """Sequences that run come first: a token for each decoder, then further chunks of prefills; then those that wait.

    Blocks are allocated as tokens are computed. When there are none left, the request that was admitted last (with
    the policy `priority`: the least urgent one) loses its blocks and waits, in front of all others, to be computed
    anew: prompt and output so far, and the token that a step in flight gives it. `preempted`: that happened in the last
    step that was formed, for which nobody that waits was looked at. `fetch` is given each admitted request whose
    prompt's KV cache comes from a peer.
    """

    def __init__(
        self,
        settings: Settings,
        scheduler: Scheduler,
        observer: EngineObserver,
        fetch: Callable[[SimulatedHandle, float], None],
    ) -> None:
        self._scheduler = scheduler
        self._kv = scheduler.kv
        self._observer = observer
        self._fetch = fetch
        self._budget = settings.max_num_batched_tokens
        self._chunks = settings.enable_chunked_prefill
        self._longest_chunk = settings.long_prefill_token_threshold or NO_LIMIT
        self._reserves = settings.scheduler_reserve_full_isl
        self._by_priority = settings.scheduling_policy == "priority"
        self._admitted = 0
        # Requests that wait for blocks of others which are in flight: nobody may start in their stead.
        self._starved: set[SimulatedHandle] = set()
        self.preempted = False

    def form(self, lane: Lane, now: float, *, admits: bool) -> bool:
        """Schedules the next step of a lane, the one after that in flight; False if there is nothing to compute.

        `admits`: those that wait may start.
        """
        self.preempted = False
        lane.planned.clear()
        self._give_blocks(lane)
        decoders = len(lane.decoders) - len(lane.last_ones)
        budget = self._budget - decoders
        if lane.prefilling:
            budget = self._continue_prefills(lane, budget)
        if admits and not self.preempted and not self._starved and self._scheduler.waiting:
            self._admit(lane, budget, now)
        lane.scheduled = bool(decoders or lane.planned)
        return lane.scheduled

    def preempt(self, handle: SimulatedHandle) -> None:
        """A running request loses its blocks and waits to be computed anew."""
        lane = handle.lane
        assert lane is not None
        decodes = handle in lane.decoders
        tokens = handle.num_scheduled_tokens
        lane.leave(handle)
        self.forget(handle)
        if decodes and lane.busy:
            lane.preempted[handle] = None
        else:
            handle.leave_lane()
        handle.num_preemptions += 1
        self._scheduler.preempt(handle, tokens if decodes and not handle.lost else None)
        handle.doomed = handle.lost = False
        self._observer.preempted(handle)
        self.preempted = True

    def forget(self, handle: SimulatedHandle) -> None:
        """A request does not run any longer."""
        self._starved.discard(handle)

    def _give_blocks(self, lane: Lane) -> None:
        """The decoders whose blocks are full get another one, those that run for longest first."""
        step = lane.next_step
        filling = lane.filling.pop(step, None)
        if filling is None:
            return
        for handle in sorted(filling, key=_order) if len(filling) > 1 else filling:
            # One that was preempted for those before it is gone.
            if handle not in lane.decoders:
                continue
            if self._grow(handle, 1):
                lane.fill(handle, step + self._kv.block_size)
            elif handle in lane.decoders:
                self._stall(handle, lane)

    def _stall(self, handle: SimulatedHandle, lane: Lane) -> None:
        """A decoder goes on when blocks are free, as one whose prefill lacks its last token."""
        lane.leave(handle)
        handle.close_segment()
        handle.lane = lane
        lane.prefilling[handle] = None

    def _continue_prefills(self, lane: Lane, budget: int) -> int:
        """Plans chunks for prefills that have begun; the budget that is left."""
        for handle in list(lane.prefilling):
            if budget <= 0:
                break
            if handle not in lane.prefilling:
                continue
            before = handle.computed
            new = min(handle.num_known_tokens - before, budget, self._longest_chunk)
            assert handle.allocation is not None
            missing = self._kv.blocks_for(before + new) - handle.allocation.blocks
            if missing > 0 and not self._grow(handle, missing):
                continue
            self._scheduler.cache_prompt(handle, before + new)
            lane.planned[handle] = (new, before)
            budget -= new
        return budget

    def _admit(self, lane: Lane, budget: int, now: float) -> None:
        """Starts requests from the queue while seats, budget and blocks last."""
        scheduler = self._scheduler
        while budget > 0 and scheduler.has_seat:
            head = scheduler.waiting.first(scheduler.may_run)
            if head is None:
                return
            assert isinstance(head, SimulatedHandle)
            new = self._start(head, lane, budget, now)
            if new is None:
                return
            budget -= new

    def _start(self, handle: SimulatedHandle, lane: Lane, budget: int, now: float) -> int | None:
        """Admits a request with its first chunk; how many tokens that has, None if there is no room for it."""
        kv, known, hashes = self._kv, handle.num_known_tokens, handle.block_hashes
        hits, idle_hits = kv.lookup(hashes, known)
        cached = hits * kv.block_size
        loads = handle.request.loads_kv and not handle.num_preemptions
        left = min(known - cached, self._longest_chunk)
        if not self._chunks and left > budget and not loads:
            return None
        new = known - cached if loads else min(left, budget)
        if self._reserves and kv.blocks_for(known) - hits + idle_hits > kv.free_blocks:
            return None
        chain = hashes[: (cached + new) // kv.block_size]
        allocation = kv.allocate(chain, known, cached + new)
        if allocation is None:
            return None
        self._scheduler.waiting.remove(handle)
        self._scheduler.seat(handle, allocation, chain)
        self._admitted += 1
        handle.order = self._admitted
        handle.lane = lane
        handle.computed = cached
        if not handle.num_preemptions:
            handle.scheduled = now
            self._scheduler.describe(handle, allocation)
            self._observer.scheduled(handle)
        if loads or (handle.request.delay and not handle.num_preemptions):
            self._fetch(handle, now)
            return 0
        lane.prefilling[handle] = None
        lane.planned[handle] = (new, cached)
        return new

    def _grow(self, handle: SimulatedHandle, blocks: int) -> bool:
        """Blocks for a running request; others are preempted for it, or itself. False: it is not in this step."""
        assert handle.allocation is not None
        while not self._kv.grow(handle.allocation, blocks):
            assert handle.lane is not None
            victim = self._victim(handle.lane.last_ones)
            if victim.lane is not handle.lane and victim.lane is not None and victim.lane.busy:
                victim.doomed = True
                self._starved.add(handle)
                return False
            self.preempt(victim)
            if victim is handle:
                return False
        self._starved.discard(handle)
        return True

    def _victim(self, spared: Container[RequestHandle]) -> SimulatedHandle:
        """Who loses its blocks; `spared` are those that end anyway with the step in flight."""
        running = [handle for handle in self._scheduler.running if handle not in spared]
        victim = max(running, key=lambda handle: _urgency(handle.request)) if self._by_priority else running[-1]
        assert isinstance(victim, SimulatedHandle)
        return victim


def _order(handle: SimulatedHandle) -> int:
    return handle.order


def _urgency(request: EngineRequest) -> tuple[int, float]:
    return request.priority, request.arrival
