"""How long blocks live in the prefix cache and how they are used there, of a sample of them."""

import random
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise

from vllm_mock.engine.block_hash import BlockHash
from vllm_mock.settings import Settings

# As many as vLLM remembers.
REMEMBERED_USES = 4
SAMPLING_SEED = 0

ObserveEvicted = Callable[[float, float, Sequence[float]], None]
"""Takes (lifetime, time since the last use, gaps between the last uses) of an evicted block, in seconds."""


def kv_residency(settings: Settings, clock: Callable[[], float], observe: ObserveEvicted) -> "KVResidency | None":
    """What --kv-cache-metrics asks for, if it does."""
    return KVResidency(settings.kv_cache_metrics_sample, clock, observe) if settings.kv_cache_metrics else None


class _Residence:
    __slots__ = ("last_used", "stored", "uses")

    def __init__(self, now: float) -> None:
        self.stored = self.last_used = now
        self.uses: deque[float] = deque(maxlen=REMEMBERED_USES)


class KVResidency:
    """Follows a share `sample` (0..1) of the blocks from their storing to their eviction.

    `clock` gives the engine's seconds. A use is a hit by another request; the storing is none.
    """

    __slots__ = ("_blocks", "_clock", "_draw", "_observe", "_sample")

    def __init__(self, sample: float, clock: Callable[[], float], observe: ObserveEvicted) -> None:
        self._sample = sample
        self._clock = clock
        self._observe = observe
        self._draw = random.Random(SAMPLING_SEED).random
        self._blocks: dict[BlockHash, _Residence] = {}

    def stored(self, blocks: Sequence[BlockHash]) -> None:
        """These blocks can be found from now on."""
        for block in blocks:
            if self._draw() < self._sample:
                self._blocks[block] = _Residence(self._clock())

    def used(self, blocks: Sequence[BlockHash]) -> None:
        """Another request found these blocks."""
        for block in blocks:
            residence = self._blocks.get(block)
            if residence is not None:
                residence.last_used = self._clock()
                residence.uses.append(residence.last_used)

    def evicted(self, block: BlockHash) -> None:
        """The room of this block was needed."""
        residence = self._blocks.pop(block, None)
        if residence is not None:
            now = self._clock()
            gaps = [later - earlier for earlier, later in pairwise(residence.uses)]
            self._observe(now - residence.stored, now - residence.last_used, gaps)

    def cleared(self) -> None:
        """All blocks were forgotten at once, which is no eviction."""
        self._blocks.clear()
