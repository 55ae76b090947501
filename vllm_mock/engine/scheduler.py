"""Which requests run: waiting queue, running set and KV blocks, as vLLM's V1 scheduler orders them."""

from collections.abc import Iterator, Sequence

from vllm_mock.engine.block_hash import BlockHash, BlockHasher, FastBlockHasher
from vllm_mock.engine.block_ids import BlockIds
from vllm_mock.engine.handle import ABORTED, FINISHED, RUNNING, WAITING, RequestHandle
from vllm_mock.engine.kv_cache import Allocation, KVCache
from vllm_mock.engine.kv_events import KVEventLog
from vllm_mock.engine.queue_limits import TOO_MANY_REQUESTS, QueueLimits
from vllm_mock.engine.removable_heap import RemovableHeap
from vllm_mock.engine.request import EngineRequest, NeverFits
from vllm_mock.engine.waiting_queue import WaitingQueue
from vllm_mock.settings import Settings


class Scheduler:
    """Admits requests in the order of arrival or of priority; the head of the queue blocks the rest.

    As in vLLM, a request whose LoRA adapter would be one more than max_loras is passed over until an adapter's last
    running request ends.

    No time passes in here and nothing locks: an engine calls it with its own lock held.
    """

    def __init__(self, settings: Settings, hasher: BlockHasher | None = None, *, in_steps: bool = False) -> None:
        """A `hasher` is given when others are told of the blocks: then `events` holds what happened to them.

        `in_steps`: requests start with the next step of a GPU, and get blocks as they are computed.
        """
        self.kv = KVCache(settings.num_gpu_blocks, settings.block_size)
        self.events: KVEventLog | None = None
        self._block_ids: BlockIds | None = None
        if hasher is not None:
            self.events = KVEventLog()
            self.kv.on_evicted = self.events.removed
        self._hash = hasher or FastBlockHasher(settings.block_size)
        # In a simulation, requests on their way to the queue, by when they are there.
        self.arriving: RemovableHeap[RequestHandle] = RemovableHeap()
        self.waiting = WaitingQueue()
        self.running: dict[RequestHandle, None] = {}
        self.running_adapters: dict[str, int] = {}
        self._max_loras = settings.max_loras
        self._max_num_seqs = settings.max_num_seqs
        self._by_priority = settings.scheduling_policy == "priority"
        self._caches_prefixes = settings.enable_prefix_caching
        self._limits = QueueLimits(settings.max_num_queued_reqs, settings.max_num_queued_tokens)
        self._max_waiting = settings.max_waiting_queue_length
        self._in_steps = in_steps

    def check_fits(self, request: EngineRequest) -> None:
        """Raises NeverFits if the request needs more blocks than there are; needs no lock."""
        needed = self.kv.blocks_for(len(request.prompt_token_ids) + request.num_output_tokens)
        if needed > self.kv.num_blocks:
            raise NeverFits(needed, self.kv.num_blocks)

    def prompt_hashes(self, request: EngineRequest) -> Sequence[BlockHash]:
        """The hashes of the prompt's full blocks, none without a prefix cache; needs no lock."""
        if not self._caches_prefixes:
            return ()
        return self._hash(request, request.prompt_token_ids, None)

    def refusals(self, handles: Sequence[RequestHandle], now: float) -> list[str]:
        """Why queue limits refuse these requests: a reason for each refused prompt, none if all may come."""
        if not self._limits.unlimited:
            requests = [handle.request for handle in handles]
            unfinished = len(self.arriving) + len(self.waiting) + len(self.running)
            backlog = self._prefill_backlog(now) if self._limits.limits_tokens else 0
            refused = self._limits.refusals(requests, unfinished, backlog)
            if refused:
                return refused
        if self._max_waiting is not None and self._left_waiting(handles) > max(
            self._max_waiting, self._left_waiting(())
        ):
            return [TOO_MANY_REQUESTS]
        return []

    def start_or_queue(self, handle: RequestHandle) -> bool:
        """Starts a new request if nobody waits before it and there is room, else queues it; whether it runs."""
        request = handle.request
        if self.may_run(request.lora_name) and not self._somebody_waits() and self._start(handle):
            return True
        self.queue(handle)
        return False

    def queue(self, handle: RequestHandle) -> None:
        """Lets a new request wait."""
        self.waiting.push(self._key(handle.request), handle)

    def send(self, handle: RequestHandle) -> None:
        """Lets a new request wait from handle.queued on."""
        self.arriving.push(handle.queued, handle)

    def receive(self, now: float) -> None:
        """Queues the requests that have come by `now`."""
        while (first := self.arriving.first()) is not None and first[0] <= now:
            self.queue(self.arriving.pop())

    def _key(self, request: EngineRequest) -> tuple[float, ...]:
        return (request.priority, request.arrival) if self._by_priority else ()

    def admit(self) -> Iterator[RequestHandle]:
        """Moves requests from the queue to the running set while seats and KV blocks last."""
        while (head := self.waiting.first(self.may_run)) is not None and self._start(head):
            self.waiting.remove(head)
            yield head

    def may_run(self, adapter: str | None) -> bool:
        """Whether a request of this adapter finds a slot for it; the base model needs none."""
        running = self.running_adapters
        return adapter is None or adapter in running or len(running) < self._max_loras

    @property
    def deferred(self) -> int:
        """Requests that wait for a slot of their adapter."""
        return sum(self.waiting.count(name) for name in self.waiting.adapters() if not self.may_run(name))

    def _somebody_waits(self) -> bool:
        """Whether a request waits for a seat or blocks, rather than for an adapter's slot."""
        return bool(self.waiting) and self.waiting.first(self.may_run) is not None

    def finish(self, handle: RequestHandle) -> None:
        """Frees the seat and blocks of a running request; its full blocks stay cached."""
        self._release(handle, len(handle.request.output_token_ids))
        handle.state = FINISHED

    def preempt(self, handle: RequestHandle, num_output_tokens: int | None) -> None:
        """Takes the seat and the blocks of a running request, which waits from now on, before those of its rank.

        `num_output_tokens` as for abort().
        """
        self._release(handle, num_output_tokens)
        handle.state = WAITING
        self.waiting.push(self._key(handle.request), handle, in_front=True)

    def abort(self, handle: RequestHandle, num_output_tokens: int | None) -> None:
        """Drops a waiting or running request that has `num_output_tokens` so far; None: its prefill is not complete."""
        if not self.waiting.remove(handle) and not self.arriving.remove(handle):
            self._release(handle, num_output_tokens)
        handle.state = ABORTED

    def not_started(self) -> list[RequestHandle]:
        """All requests that wait, or are on their way to the queue."""
        return self.waiting.items() + self.arriving.items()

    def cache_prompt(self, handle: RequestHandle, num_tokens: int) -> None:
        """Stores the blocks that the first `num_tokens` tokens of a running request fill, as far as they are hashed."""
        allocation = handle.allocation
        assert allocation is not None
        start, chain = len(allocation.hashes), handle.block_hashes[: num_tokens // self.kv.block_size]
        if start < len(chain):
            self.kv.store(allocation, chain[start:])
            if self.events is not None:
                self.events.stored(handle.request, start, chain, allocation.stored)

    def cache_output(self, handle: RequestHandle, num_output_tokens: int) -> None:
        """Stores the blocks that a running request's first output tokens have filled."""
        computed = self._output_hashes(handle, num_output_tokens)
        if not computed:
            return
        assert handle.allocation is not None
        self.kv.store(handle.allocation, computed)
        start = len(handle.block_hashes)
        handle.block_hashes = [*handle.block_hashes, *computed]
        if self.events is not None:
            self.events.stored(handle.request, start, handle.block_hashes, handle.allocation.stored)

    def reset_prefix_cache(self, *, running_too: bool = False) -> bool:
        """Forgets all cached blocks; returns False and does nothing while requests run, unless `running_too`.

        Then those keep their content in blocks that nobody can share; False if that takes more blocks than there are.
        """
        holders = list(self.running) if running_too else []
        held = [handle.allocation.blocks for handle in holders if handle.allocation is not None]
        if sum(held) > self.kv.num_blocks:
            return False
        for handle in holders:
            assert handle.allocation is not None
            self.kv.release(handle.allocation)
        if not self.kv.reset():
            return False
        for handle, blocks in zip(holders, held, strict=True):
            handle.block_hashes = ()
            handle.allocation = self.kv.allocate((), 1, blocks * self.kv.block_size)
        if self.events is not None:
            self.events.cleared()
        if self._block_ids is not None:
            self._block_ids.clear({number for handle in holders for number in handle.block_ids})
        return True

    def _start(self, handle: RequestHandle) -> bool:
        if not self.has_seat:
            return False
        hashes = handle.block_hashes
        allocation = self.kv.allocate(hashes, handle.num_prompt_tokens, handle.num_total_tokens)
        if allocation is None:
            return False
        self.seat(handle, allocation, hashes)
        self.describe(handle, allocation)
        return True

    @property
    def has_seat(self) -> bool:
        """Whether one more request may run."""
        return len(self.running) < self._max_num_seqs

    def seat(self, handle: RequestHandle, allocation: Allocation, hashes: Sequence[BlockHash]) -> None:
        """A request runs from now on, in the blocks of an allocation that was made for `hashes`."""
        handle.allocation = allocation
        handle.state = RUNNING
        self.running[handle] = None
        adapter = handle.request.lora_name
        if adapter is not None:
            self.running_adapters[adapter] = self.running_adapters.get(adapter, 0) + 1
        if self.events is not None:
            hits = hashes[: allocation.hit_blocks]
            if hits and handle.request.reports_hits:
                self.events.stored(handle.request, 0, hits, hits)
            self.events.stored(handle.request, len(hits), hashes, allocation.stored)
        if handle.request.hands_over_kv:
            handle.block_ids = self._number_blocks(handle)

    def describe(self, handle: RequestHandle, allocation: Allocation) -> None:
        """Where the KV cache of a request's prompt comes from, at its first start."""
        handle.num_cached_tokens = allocation.hit_blocks * self.kv.block_size
        if handle.request.loads_kv:
            handle.num_external_tokens = handle.num_prompt_tokens - handle.num_cached_tokens
        else:
            handle.num_created_tokens = len(handle.block_hashes) * self.kv.block_size - handle.num_cached_tokens

    def _number_blocks(self, handle: RequestHandle) -> list[int]:
        """The numbers of the blocks of a request that starts."""
        if self._block_ids is None:
            self._block_ids = BlockIds()
            self.kv.on_evicted = self._evicted
        return self._block_ids.take(handle.block_hashes, self.kv.blocks_for(handle.num_total_tokens))

    def _evicted(self, block: BlockHash) -> None:
        assert self._block_ids is not None
        self._block_ids.evicted(block)
        if self.events is not None:
            self.events.removed(block)

    def _release(self, handle: RequestHandle, num_output_tokens: int | None) -> None:
        if num_output_tokens is not None:
            self.cache_output(handle, num_output_tokens)
        if handle.block_ids and self._block_ids is not None:
            self._block_ids.give_back(handle.block_ids, handle.block_hashes)
        del self.running[handle]
        adapter = handle.request.lora_name
        if adapter is not None:
            self.running_adapters[adapter] -= 1
            if not self.running_adapters[adapter]:
                del self.running_adapters[adapter]
        assert handle.allocation is not None
        self.kv.release(handle.allocation)
        handle.allocation = None

    def _output_hashes(self, handle: RequestHandle, num_output_tokens: int) -> Sequence[BlockHash]:
        """The hashes of blocks that the output has newly filled (its last token was never an input)."""
        if not self._caches_prefixes:
            return ()
        request, size = handle.request, self.kv.block_size
        hashes = handle.block_hashes
        start = len(hashes) * size
        inputs = max(num_output_tokens - 1, 0)
        prompt = handle.num_prompt_tokens
        if prompt + inputs - start < size:
            return ()
        return self._hash(request, request.tokens(start, prompt + inputs), hashes[-1] if hashes else None)

    def _prefill_backlog(self, now: float) -> int:
        waiting = sum(handle.num_prompt_tokens for handle in self.not_started())
        return waiting + sum(handle.num_prompt_tokens for handle in self.running if not handle.tokens_due(now))

    def _left_waiting(self, new: Sequence[RequestHandle]) -> int:
        """How many would wait with these new ones, but for those that start now or with the next step."""
        if self._in_steps:
            handles = [*self.not_started(), *new]
            return len(handles) - self._room_for(handles)
        startable = not self._somebody_waits() and all(self.may_run(handle.request.lora_name) for handle in new)
        return len(self.waiting) + len(new) - (self._room_for(new) if startable else 0)

    def _room_for(self, handles: Sequence[RequestHandle]) -> int:
        """How many of these find a seat and blocks; blocks that they share are counted for each."""
        seats, free = self._max_num_seqs - len(self.running), self.kv.free_blocks
        for number, handle in enumerate(handles[:seats]):
            prompt = handle.num_prompt_tokens
            tokens = prompt if self._in_steps else handle.num_total_tokens
            free -= self.kv.blocks_needed(handle.block_hashes, prompt, tokens)
            if free < 0:
                return number
        return min(seats, len(handles))
