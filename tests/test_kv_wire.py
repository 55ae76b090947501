"""The bytes of KV events against those that vLLM 0.33.0's own block pool and encoder made of the same requests."""

import json
from pathlib import Path

import msgspec
import pytest

from vllm_mock.engine import EngineRequest
from vllm_mock.engine.kv_events import AllBlocksCleared, BlockRemoved, BlockStored
from vllm_mock.engine.vllm_block_hash import VLLMBlockHasher
from vllm_mock.kv_events.config import endpoint_of_rank
from vllm_mock.kv_events.wire import EventEncoder

RECORDED = json.loads((Path(__file__).parent / "kv_cache" / "vllm_kv_events.json").read_text())
HASH = VLLMBlockHasher("sha256_cbor", 4, "0")


def chain(tokens, **fields):
    request = EngineRequest("r", list(tokens), [1], 1, **fields)
    return request, HASH(request, request.prompt_token_ids, None)


def stored(request, hashes, start, end):
    return BlockStored(request, start, list(hashes[start:end]), hashes[start - 1] if start else None)


PROMPT = chain(range(1, 13))
SALTED = chain(range(20, 28), cache_salt="pepper", lora_name="adA", lora_path="/adapters/a", lora_id=3, session_id="s1")
EVENTS = {
    "two blocks of a prompt": [stored(*PROMPT, 0, 2)],
    "the next block": [stored(*PROMPT, 2, 3)],
    "salt, adapter and session": [stored(*SALTED, 0, 2)],
    "evictions, then a store": [*map(BlockRemoved, PROMPT[1][:0:-1]), stored(*chain(range(50, 66)), 0, 4)],
    "reset": [AllBlocksCleared()],
}


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: row["name"])
def test_bytes_are_those_of_vllm(row):
    rank = 1 if row["name"] == "the next block" else 0
    encoder = EventEncoder(4, rank, as_arrays=False, integers=True)
    assert encoder.batch(row["ts"], EVENTS[row["name"]]).hex() == row["payload"]


def test_arrays_have_the_same_values_in_the_order_of_the_fields():
    encoder = EventEncoder(4, 0, as_arrays=True, integers=False)
    events = [*EVENTS["salt, adapter and session"], BlockRemoved(b"\1" * 32), AllBlocksCleared()]
    hashes = list(SALTED[1])
    assert msgspec.msgpack.decode(encoder.batch(1.5, events)) == [
        1.5,
        [
            [
                *("BlockStored", hashes, None, list(range(20, 28)), 4, 3, "GPU", "adA"),
                *([["adA", "pepper"], ["adA"]], 0, "full_attention", None, None),
            ],
            ["BlockRemoved", [b"\1" * 32], "GPU", 0, None],
            ["AllBlocksCleared"],
        ],
        0,
    ]


def test_endpoints_of_ranks():
    assert endpoint_of_rank("tcp://*:5557", 0) == "tcp://*:5557"
    assert endpoint_of_rank("tcp://*:5557", 3) == "tcp://*:5560"
    assert endpoint_of_rank("tcp://[::]:5557", 1) == "tcp://[::]:5558"
    assert endpoint_of_rank("tcp://*:0", 3) == "tcp://*:0"
    assert endpoint_of_rank("inproc://kv", 2) == "inproc://kv_dp2"
