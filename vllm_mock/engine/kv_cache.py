"""The paged KV cache: how many blocks are in use, and which full blocks are worth keeping."""

from collections import OrderedDict
from collections.abc import Sequence


class Allocation:
    """The blocks of one request: the cached ones that it references, by hash, and a count of private ones."""

    __slots__ = ("hashes", "hit_blocks", "private")

    def __init__(self, hashes: Sequence[int], hit_blocks: int, private: int) -> None:
        self.hashes = hashes
        self.hit_blocks = hit_blocks
        self.private = private


class KVCache:
    """`num_blocks` blocks of `block_size` tokens with a prefix cache.

    A full prompt block is stored under its chained hash as soon as its request is allocated, so
    that the next request shares it. An unreferenced block stays cached until its room is needed;
    then the least recently used goes first, and of one request the tail before the head.
    Blocks that nobody can share have no identity: they are only counted.
    """

    __slots__ = ("_idle", "_private", "_referenced", "block_size", "num_blocks")

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        self._private = 0
        self._referenced: dict[int, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()

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

    def blocks_needed(self, hashes: Sequence[int], num_prompt_tokens: int, num_tokens: int) -> int:
        """How many free blocks an allocation with these arguments would take now."""
        hits, idle_hits = self._lookup(hashes, num_prompt_tokens)
        return self.blocks_for(num_tokens) - hits + idle_hits

    def allocate(self, hashes: Sequence[int], num_prompt_tokens: int, num_tokens: int) -> Allocation | None:
        """Blocks for `num_tokens` tokens, or None if there are not enough free ones.

        `hashes` are those of the prompt's full blocks (empty: no prefix caching); cached ones are
        reused from the first on, the others are stored.
        """
        hits, idle_hits = self._lookup(hashes, num_prompt_tokens)
        new_blocks = self.blocks_for(num_tokens) - hits
        if new_blocks + idle_hits > self.free_blocks:
            return None
        referenced = list(hashes[:hits])
        for block in referenced:
            self._reference(block)
        self._make_room(new_blocks)
        for block in hashes[hits:]:
            # Content that is cached already, but was not hit, is computed into a block of its own.
            if block not in self._referenced and block not in self._idle:
                self._referenced[block] = 1
                referenced.append(block)
        private = new_blocks - (len(referenced) - hits)
        self._private += private
        return Allocation(referenced, hits, private)

    def release(self, allocation: Allocation, computed: Sequence[int] = ()) -> None:
        """Gives the blocks back; private ones with a hash in `computed` (full output blocks) stay cached."""
        self._private -= allocation.private
        for block in reversed(computed):
            if block not in self._referenced:
                self._idle[block] = None
                self._idle.move_to_end(block)
        for block in reversed(allocation.hashes):
            references = self._referenced[block] - 1
            if references:
                self._referenced[block] = references
            else:
                del self._referenced[block]
                self._idle[block] = None

    def _lookup(self, hashes: Sequence[int], num_prompt_tokens: int) -> tuple[int, int]:
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

    def _reference(self, block: int) -> None:
        references = self._referenced.get(block)
        if references is None:
            del self._idle[block]
            self._referenced[block] = 1
        else:
            self._referenced[block] = references + 1

    def _make_room(self, new_blocks: int) -> None:
        empty = self.free_blocks - len(self._idle)
        for _ in range(new_blocks - empty):
            self._idle.popitem(last=False)
