"""Chained hashes of full KV blocks: equal hashes mean equal tokens from the start of the prompt on."""

from collections.abc import Sequence


def root_hash(cache_salt: str | None, lora_name: str | None) -> int:
    """Where a chain starts: prompts with another salt or adapter share no block."""
    return 0 if cache_salt is None and lora_name is None else hash((cache_salt, lora_name))


def block_hashes(token_ids: Sequence[int], block_size: int, parent: int) -> list[int]:
    """The hashes of the full blocks in `token_ids`, chained from `parent`.

    hash() of a tuple of integers mixes 64 bits and is the fastest there is; it never leaves the process.
    """
    ids = tuple(token_ids)
    hashes = []
    for start in range(0, len(ids) - block_size + 1, block_size):
        parent = hash((parent, ids[start : start + block_size]))
        hashes.append(parent)
    return hashes
