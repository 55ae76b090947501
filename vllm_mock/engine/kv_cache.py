"""The paged KV cache: how many blocks are in use, and which full blocks are worth keeping."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from vllm_mock.engine.block_hash import BlockHash
from vllm_mock.engine.kv_residency import KVResidency


class Allocation:
    """The `blocks` of one request: those that it references, by hash, and a count of private ones.

    Where it references somebody else's copy of a block of its own, that one is among the private ones as well.
    `hit_blocks` of its prompt were cached already; `stored` are the hashes that it has just added to the cache.
    """

    __slots__ = ("blocks", "hashes", "hit_blocks", "private", "stored")

    def __init__(self, hashes: list[BlockHash], hit_blocks: int, private: int) -> None:
        self.blocks = hit_blocks + private
        self.hashes = hashes
        self.hit_blocks = hit_blocks
        self.private = private
        self.stored: list[BlockHash] = []


class KVCache:
    """`num_blocks` blocks of `block_size` tokens with a prefix cache.

    A full prompt block is stored under its chained hash as soon as its request is allocated, so
    that the next request shares it. An unreferenced block stays cached until its room is needed;
    then the least recently used goes first, and of one request the tail before the head.
    Blocks that nobody can share have no identity: they are only counted.

    `on_evicted` is called with the hash of each block that is no longer cached since its room was needed;
    `residency` is told of everything that happens to blocks.
    """

    __slots__ = ("_idle", "_private", "_referenced", "block_size", "num_blocks", "on_evicted", "residency")

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        self._private = 0
        self._referenced: dict[BlockHash, int] = {}
        self._idle: OrderedDict[BlockHash, None] = OrderedDict()
        self.on_evicted: Callable[[BlockHash], None] | None = None
        self.residency: KVResidency | None = None

    @property
    def used_blocks(self) -> int:
        """Blocks that a request holds; cached but unreferenced ones are free."""
        return self._private + len(self._referenced)

    @property
    def free_blocks(self) -> int:
        """Blocks that can be allocated, those of unreferenced cached content included."""
        return self.num_blocks - self._private - len(self._referenced)

    @property
    def cached_blocks(self) -> int:
        """Blocks that can be found by their hash."""
        return len(self._referenced) + len(self._idle)

    def blocks_for(self, num_tokens: int) -> int:
        """How many blocks `num_tokens` tokens take."""
        return -(-num_tokens // self.block_size)

    def blocks_needed(self, hashes: Sequence[BlockHash], num_prompt_tokens: int, num_tokens: int) -> int:
        """How many free blocks an allocation with these arguments would take now."""
        hits, idle_hits = self.lookup(hashes, num_prompt_tokens)
        return self.blocks_for(num_tokens) - hits + idle_hits

    def allocate(self, hashes: Sequence[BlockHash], num_prompt_tokens: int, num_tokens: int) -> Allocation | None:
        """Blocks for `num_tokens` tokens, or None if there are not enough free ones.

        `hashes` are those of the prompt's full blocks (empty: no prefix caching); cached ones are
        reused from the first on, the others are stored.
        """
        hits, idle_hits = self.lookup(hashes, num_prompt_tokens)
        new_blocks = self.blocks_for(num_tokens) - hits
        if new_blocks + idle_hits > self.free_blocks:
            return None
        referenced = list(hashes[:hits])
        for block in referenced:
            self._reference(block)
        if self.residency is not None:
            self.residency.used(referenced)
        self._make_room(new_blocks)
        self._private += new_blocks
        allocation = Allocation(referenced, hits, new_blocks)
        self.store(allocation, hashes[hits:])
        return allocation

    def grow(self, allocation: Allocation, blocks: int) -> bool:
        """Adds that many blocks to a request's; False, and nothing is done, if there are not enough free ones."""
        if blocks > self.free_blocks:
            return False
        self._make_room(blocks)
        self._private += blocks
        allocation.private += blocks
        allocation.blocks += blocks
        return True

    def store(self, allocation: Allocation, full: Sequence[BlockHash]) -> None:
        """Private blocks of a request, with the hashes `full`, can be found by others from now on.

        Of equal content one copy is found. Where another request holds it, that one stays until both are done;
        an unreferenced copy gives way to the request's own.
        """
        stored = allocation.stored = []
        shared = 0
        for block in full:
            references = self._referenced.get(block, 0)
            self._referenced[block] = references + 1
            if references:
                shared += 1
            elif block in self._idle:
                del self._idle[block]
            else:
                stored.append(block)
        allocation.hashes += full
        allocation.private -= len(full) - shared
        self._private -= len(full) - shared
        if self.residency is not None:
            self.residency.stored(stored)

    def release(self, allocation: Allocation) -> None:
        """Gives the blocks back; those that were stored stay cached."""
        self._private -= allocation.private
        for block in reversed(allocation.hashes):
            references = self._referenced[block] - 1
            if references:
                self._referenced[block] = references
            else:
                del self._referenced[block]
                self._idle[block] = None

    def reset(self) -> bool:
        """Forgets all cached blocks; does nothing and returns False while requests hold any block."""
        if self.used_blocks:
            return False
        self._idle.clear()
        if self.residency is not None:
            self.residency.cleared()
        return True

    def lookup(self, hashes: Sequence[BlockHash], num_prompt_tokens: int) -> tuple[int, int]:
        """Leading blocks found, and how many of them nobody references.

        The last prompt token is always computed, since its logits give the first output token.
        """
        hits = idle = 0
        for block in hashes[: (num_prompt_tokens - 1) // self.block_size]:
            if block in self._idle:
                idle += 1
            elif block not in self._referenced:
                break
            hits += 1
        return hits, idle

    def _reference(self, block: BlockHash) -> None:
        references = self._referenced.get(block)
        if references is None:
            del self._idle[block]
            self._referenced[block] = 1
        else:
            self._referenced[block] = references + 1

    def _make_room(self, new_blocks: int) -> None:
        empty = self.free_blocks - len(self._idle)
        for _ in range(new_blocks - empty):
            block, _none = self._idle.popitem(last=False)
            if self.residency is not None:
                self.residency.evicted(block)
            if self.on_evicted is not None:
                self.on_evicted(block)
