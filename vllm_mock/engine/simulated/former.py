"""StepFormer: which tokens of which sequences the next step of a lane computes, as vLLM's V1 scheduler decides."""

from collections.abc import Callable

from vllm_mock.engine.observer import EngineObserver
from vllm_mock.engine.request import EngineRequest
from vllm_mock.engine.scheduler import Scheduler
from vllm_mock.engine.simulated.handle import SimulatedHandle
from vllm_mock.engine.simulated.lane import Lane
from vllm_mock.engine.step_time import Batch
from vllm_mock.settings import Settings

NO_LIMIT = 1 << 62


class StepFormer:
    """Sequences that run come first: a token for each decoder, then further chunks of prefills; then those that wait.

    Blocks are allocated as tokens are computed. When there are none left, the request that was admitted last (with
    the policy `priority`: the least urgent one) loses its blocks and waits, in front of all others, to be computed
    anew: prompt and output so far. `preempted`: that happened in the last step that was formed, for which nobody that
    waits was looked at. `fetch` is given each admitted request whose prompt's KV cache comes from a peer.
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
        self._planned: dict[SimulatedHandle, tuple[int, int]] = {}

    def form(self, lane: Lane, now: float, *, admits: bool) -> Batch | None:
        """The next step of a lane, whose prefills are then that much further; None if there is nothing to compute.

        `admits`: those that wait may start. The lane must not be in flight.
        """
        self.preempted = False
        self._planned.clear()
        self._give_blocks(lane)
        budget = self._budget - len(lane.decoders)
        if lane.prefilling:
            budget = self._continue_prefills(lane, budget)
        if admits and not self.preempted and not self._starved and self._scheduler.waiting:
            self._admit(lane, budget, now)
        if not lane.decoders and not self._planned:
            return None
        return self._batch(lane)

    def preempt(self, handle: SimulatedHandle) -> None:
        """A running request, not in flight, loses its blocks and waits to be computed anew."""
        lane = handle.lane
        assert lane is not None
        decodes = handle in lane.decoders
        lane.leave(handle)
        self.forget(handle)
        handle.close_segment()
        self._planned.pop(handle, None)
        handle.num_preemptions += 1
        handle.counted = len(handle.dues)
        self._scheduler.preempt(handle, len(handle.dues) if decodes and not handle.lost else None)
        handle.doomed = handle.lost = False
        self._observer.preempted(handle)
        self.preempted = True

    def forget(self, handle: SimulatedHandle) -> None:
        """A request does not run any longer."""
        self._starved.discard(handle)

    @property
    def planned(self) -> list[SimulatedHandle]:
        """The prefills of which the last step that was formed computes a chunk."""
        return list(self._planned)

    def _batch(self, lane: Lane) -> Batch:
        lane.completing.clear()
        for handle, (new, _) in self._planned.items():
            handle.computed += new
            if handle.computed == handle.num_known_tokens:
                lane.completing.append(handle)
        return Batch(len(lane.decoders), lane.kv_tokens, list(self._planned.values()))

    def _give_blocks(self, lane: Lane) -> None:
        """The decoders whose blocks are full get another one, those that run for longest first."""
        step = lane.next_step
        filling = lane.filling.pop(step, None)
        if filling is None:
            return
        for handle in sorted(filling, key=_order) if len(filling) > 1 else filling:
            # One that was preempted for those before it is gone.
            if handle.lane is not lane:
                continue
            if self._grow(handle, 1):
                lane.fill(handle, step + self._kv.block_size)
            elif handle.lane is lane:
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
            if handle.lane is not lane:
                continue
            before = handle.computed
            new = min(handle.num_known_tokens - before, budget, self._longest_chunk)
            assert handle.allocation is not None
            missing = self._kv.blocks_for(before + new) - handle.allocation.blocks
            if missing > 0 and not self._grow(handle, missing):
                continue
            self._scheduler.cache_prompt(handle, before + new)
            self._planned[handle] = (new, before)
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
        self._planned[handle] = (new, cached)
        return new

    def _grow(self, handle: SimulatedHandle, blocks: int) -> bool:
        """Blocks for a running request; others are preempted for it, or itself. False: it is not in this step."""
        assert handle.allocation is not None
        while not self._kv.grow(handle.allocation, blocks):
            victim = self._victim()
            if victim.lane is not handle.lane and victim.lane is not None and victim.lane.busy:
                victim.doomed = True
                self._starved.add(handle)
                return False
            self.preempt(victim)
            if victim is handle:
                return False
        self._starved.discard(handle)
        return True

    def _victim(self) -> SimulatedHandle:
        running = self._scheduler.running
        if self._by_priority:
            victim = max(running, key=lambda handle: _urgency(handle.request))
        else:
            victim = next(reversed(running))
        assert isinstance(victim, SimulatedHandle)
        return victim


def _order(handle: SimulatedHandle) -> int:
    return handle.order


def _urgency(request: EngineRequest) -> tuple[int, float]:
    return request.priority, request.arrival
