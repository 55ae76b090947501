"""Block hashes with vLLM's values, for those who compare them: consumers of KV events.

vLLM hashes (parent hash, token ids, extra keys) of each block; extra keys are the adapter, and the cache salt in
the first block. The serialization is Python's pickle, or canonical CBOR for the algorithms named so.
"""

import hashlib
import os
import pickle
from collections.abc import Callable, Sequence

from vllm_mock.engine.block_hash import BlockHash
from vllm_mock.engine.cbor import BlockSerializer, canonical_cbor
from vllm_mock.engine.request import EngineRequest

ExtraKeys = tuple[tuple[str, ...], ...] | None

# vLLM's seed of hashes that are safe to predict; the others' is random unless PYTHONHASHSEED is set.
_FIXED_SEED = "vllm-none-hash"


class VLLMBlockHasher:
    """A BlockHasher for one of vLLM's values of --prefix-caching-hash-algo.

    `seed` is the value of PYTHONHASHSEED, None where it is not set. Raises ImportError without the package xxhash
    when the algorithm needs it.
    """

    def __init__(self, algorithm: str, block_size: int, seed: str | None) -> None:
        self._block_size = block_size
        self._digest = _xxh3_128 if algorithm.startswith("xxhash") else _sha256
        digest_size = len(self._digest(b""))
        if seed is None:
            seed = os.urandom(32).hex() if algorithm.startswith("xxhash") else _FIXED_SEED
        self._serialize: Callable[[bytes, tuple[int, ...], ExtraKeys], bytes] = _pickled_block
        if algorithm.endswith("_cbor"):
            self._serialize = BlockSerializer(digest_size, block_size)
            self._root = self._digest(canonical_cbor(seed))
        else:
            self._root = self._digest(_pickled(seed))

    def __call__(
        self, request: EngineRequest, token_ids: Sequence[int], parent: BlockHash | None
    ) -> Sequence[BlockHash]:
        size = self._block_size
        keys = extra_keys(request, first_block=parent is None)
        later_keys = extra_keys(request, first_block=False)
        hashes: list[BlockHash] = []
        for start in range(0, len(token_ids) - size + 1, size):
            above = parent if isinstance(parent, bytes) else self._root
            parent = self._digest(self._serialize(above, tuple(token_ids[start : start + size]), keys))
            hashes.append(parent)
            keys = later_keys
        return hashes


def extra_keys(request: EngineRequest, *, first_block: bool) -> ExtraKeys:
    """What beside tokens goes into a block's hash, each value tagged with where it comes from."""
    keys: tuple[tuple[str, ...], ...] = ()
    if request.lora_name is not None:
        keys += (("lora", request.lora_name, request.lora_path),)
    if first_block and request.cache_salt:
        keys += (("cache_salt", request.cache_salt),)
    return keys or None


def _pickled_block(parent: bytes, token_ids: tuple[int, ...], keys: ExtraKeys) -> bytes:
    return _pickled((parent, token_ids, keys))


def _pickled(value: object) -> bytes:
    return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _xxh3_128(data: bytes) -> bytes:
    from xxhash import xxh3_128_digest  # only where it was asked for

    return xxh3_128_digest(data)
