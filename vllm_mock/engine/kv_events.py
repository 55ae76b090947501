"""What happened to cached blocks, for those who mirror the prefix cache: vLLM's KV events, still without a wire."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from vllm_mock.engine.block_hash import BlockHash
from vllm_mock.engine.request import EngineRequest


@dataclass(slots=True)
class BlockStored:
    """Blocks of `request` can be found from now on: those numbered `start` and on of its whole sequence.

    `parent` is the hash of the block before, None at the start of the prompt.
    """

    request: EngineRequest
    start: int
    hashes: list[BlockHash]
    parent: BlockHash | None


@dataclass(slots=True)
class BlockRemoved:
    """A block is no longer cached."""

    hash: BlockHash


@dataclass(slots=True)
class AllBlocksCleared:
    """Nothing is cached any longer."""


KVEvent = BlockStored | BlockRemoved | AllBlocksCleared


class KVEventLog:
    """Events in their order until somebody takes them; nothing locks. `pending` is set while there are some."""

    def __init__(self) -> None:
        self._events: list[KVEvent] = []
        self.pending = threading.Event()

    def stored(self, request: EngineRequest, start: int, hashes: Sequence[BlockHash], new: Sequence[BlockHash]) -> None:
        """Of the blocks `start`... of a request's chain `hashes`, those in `new` were not cached before."""
        added = set(new)
        run: BlockStored | None = None
        for number in range(start, len(hashes)):
            block = hashes[number]
            if block not in added:
                run = None
            elif run is not None:
                run.hashes.append(block)
            else:
                run = BlockStored(request, number, [block], hashes[number - 1] if number else None)
                self._append(run)

    def removed(self, block: BlockHash) -> None:
        """A block was evicted."""
        self._append(BlockRemoved(block))

    def cleared(self) -> None:
        """The cache was reset."""
        self._append(AllBlocksCleared())

    def take(self) -> list[KVEvent]:
        """The events since the last call."""
        events, self._events = self._events, []
        self.pending.clear()
        return events

    def _append(self, event: KVEvent) -> None:
        if not self._events:
            self.pending.set()
        self._events.append(event)
