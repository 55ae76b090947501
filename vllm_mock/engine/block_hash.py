"""Chained hashes of full KV blocks: equal hashes mean equal tokens from the start of the prompt on."""

from collections.abc import Sequence
from typing import Protocol

from vllm_mock.engine.request import EngineRequest

BlockHash = int | bytes


class BlockHasher(Protocol):
    """How the blocks of a request are named; `parent` is the hash of the block before, None at the start."""

    def __call__(
        self, request: EngineRequest, token_ids: Sequence[int], parent: BlockHash | None
    ) -> Sequence[BlockHash]: ...


class FastBlockHasher:
    """Python's own hash: the fastest there is; its values never leave the process."""

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size

    def __call__(
        self, request: EngineRequest, token_ids: Sequence[int], parent: BlockHash | None
    ) -> Sequence[BlockHash]:
        if parent is None:
            parent = root_hash(request.cache_salt, request.lora_name, request.lora_path)
        return block_hashes(token_ids, self._block_size, parent)


def root_hash(cache_salt: str | None, lora_name: str | None, lora_path: str = "") -> int:
    """Where a chain starts: prompts with another salt or adapter, or other weights of it, share no block."""
    return 0 if cache_salt is None and lora_name is None else hash((cache_salt, lora_name, lora_path))


def block_hashes(token_ids: Sequence[int], block_size: int, parent: BlockHash) -> list[BlockHash]:
    """The hashes of the full blocks in `token_ids`, chained from `parent`.

    hash() of a tuple of integers mixes 64 bits and is the fastest there is.
    """
    ids = tuple(token_ids)
    hashes: list[BlockHash] = []
    for start in range(0, len(ids) - block_size + 1, block_size):
        parent = hash((parent, ids[start : start + block_size]))
        hashes.append(parent)
    return hashes
