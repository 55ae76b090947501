"""Numbers of KV blocks, for requests whose blocks a peer is told of; all others are only counted."""

import heapq
from collections.abc import Sequence, Set

from vllm_mock.engine.block_hash import BlockHash


class BlockIds:
    """Gives each block the lowest number that is free, from 1 on (vLLM's block 0 holds nothing).

    A cached block keeps its number until it is evicted, whoever shares it; one that nobody can share keeps it as long
    as its request runs.
    """

    def __init__(self) -> None:
        self._of_cached: dict[BlockHash, int] = {}
        self._free: list[int] = []
        self._next = 1

    def take(self, hashes: Sequence[BlockHash], count: int) -> list[int]:
        """The numbers of a request's `count` blocks, of which the first are cached under `hashes`."""
        numbers = [self._of_cached.get(block) or self._of_cached.setdefault(block, self._new()) for block in hashes]
        return numbers + [self._new() for _ in range(count - len(numbers))]

    def give_back(self, numbers: Sequence[int], hashes: Sequence[BlockHash]) -> None:
        """A request is over; the blocks that are now cached, the first ones, keep their numbers."""
        for number, block in zip(numbers, hashes, strict=False):
            if self._of_cached.setdefault(block, number) != number:
                heapq.heappush(self._free, number)
        for number in numbers[len(hashes) :]:
            heapq.heappush(self._free, number)

    def evicted(self, block: BlockHash) -> None:
        """A cached block is no longer."""
        if (number := self._of_cached.pop(block, None)) is not None:
            heapq.heappush(self._free, number)

    def clear(self, held: Set[int]) -> None:
        """Nothing is cached any longer; requests still have the blocks `held`."""
        for number in set(self._of_cached.values()) - held:
            heapq.heappush(self._free, number)
        self._of_cached.clear()

    def _new(self) -> int:
        if self._free:
            return heapq.heappop(self._free)
        self._next += 1
        return self._next - 1
