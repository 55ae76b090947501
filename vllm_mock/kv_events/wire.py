"""KV events as msgpack: maps as vLLM has sent them since 0.25, or the positional arrays of older releases."""

from collections.abc import Sequence
from typing import Any

import msgspec

from vllm_mock.engine.block_hash import BlockHash
from vllm_mock.engine.kv_events import AllBlocksCleared, BlockRemoved, BlockStored, KVEvent
from vllm_mock.engine.vllm_block_hash import extra_keys

MEDIUM = "GPU"
_SPEC_KIND = "full_attention"

# Names in the order of vLLM's structures, which is that of keys and of positions.
_STORED = ("block_hashes", "parent_block_hash", "token_ids", "block_size", "lora_id", "medium", "lora_name")
_REMOVED = ("block_hashes", "medium")
# Maps leave them out when they are null.
_STORED_OPTIONAL = ("extra_keys", "group_idx", "kv_cache_spec_kind", "kv_cache_spec_sliding_window", "locality")
_REMOVED_OPTIONAL = ("group_idx", "locality")
# Came after the arrays.
_STORED_RECENT = ("ownership", "session_id", "lookahead_token_ids")
_REMOVED_RECENT = ("ownership",)


class EventEncoder:
    """Batches of events as the bytes of one message.

    `as_arrays` chooses the older form; `integers` gives hashes as their low 64 bits instead of all their bytes.
    """

    def __init__(self, block_size: int, rank: int, *, as_arrays: bool, integers: bool) -> None:
        self._block_size = block_size
        self._rank = rank
        self._integers = integers
        self._as_arrays = as_arrays
        self._stored = self._structure("BlockStored", _STORED, _STORED_OPTIONAL, _STORED_RECENT)
        self._removed = self._structure("BlockRemoved", _REMOVED, _REMOVED_OPTIONAL, _REMOVED_RECENT)
        self._cleared = self._structure("AllBlocksCleared")
        self._encode = msgspec.msgpack.Encoder().encode

    def _structure(
        self, name: str, required: Sequence[str] = (), optional: Sequence[str] = (), recent: Sequence[str] = ()
    ) -> Any:
        """A class of events; the types of fields are not checked, all values are ours."""
        if not self._as_arrays:
            optional = (*optional, *recent)
        fields: list[Any] = [*required, *((field, Any, None) for field in optional)]
        return msgspec.defstruct(name, fields, tag=name, omit_defaults=True, array_like=self._as_arrays, gc=False)

    def batch(self, timestamp: float, events: Sequence[KVEvent]) -> bytes:
        """One batch; `timestamp` is in seconds since 1970."""
        return self._encode((timestamp, [self._event(event) for event in events], self._rank))

    def _event(self, event: KVEvent) -> Any:
        match event:
            case BlockStored():
                return self._block_stored(event)
            case BlockRemoved():
                return self._removed([self._hash(event.hash)], MEDIUM, group_idx=0)
            case AllBlocksCleared():
                return self._cleared()

    def _block_stored(self, event: BlockStored) -> Any:
        request, size = event.request, self._block_size
        first = event.start * size
        return self._stored(
            [self._hash(block) for block in event.hashes],
            None if event.parent is None else self._hash(event.parent),
            request.tokens(first, first + len(event.hashes) * size),
            size,
            request.lora_id,
            MEDIUM,
            request.lora_name,
            extra_keys=[_untagged(event, number) for number in range(event.start, event.start + len(event.hashes))],
            group_idx=0,
            kv_cache_spec_kind=_SPEC_KIND,
            **({} if self._as_arrays else {"session_id": request.session_id}),
        )

    def _hash(self, block: BlockHash) -> BlockHash:
        return int.from_bytes(block[-8:], "big") if self._integers and isinstance(block, bytes) else block


def _untagged(event: BlockStored, number: int) -> list[str] | None:
    """The values that made a block's hash different from that of its tokens alone."""
    keys = extra_keys(event.request, first_block=number == 0)
    return None if keys is None else [key[1] for key in keys]
