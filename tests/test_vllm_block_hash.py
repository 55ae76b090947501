"""Block hashes against values that vLLM 0.33.0 itself computed for the same tokens, salts and adapters."""

import json
from pathlib import Path

import pytest

from vllm_mock.engine import EngineRequest
from vllm_mock.engine.vllm_block_hash import VLLMBlockHasher

RECORDED = Path(__file__).parent / "kv_cache" / "vllm_block_hashes.jsonl"
ROWS = [json.loads(line) for line in RECORDED.read_text().splitlines()]


def request(tokens, salt=None, lora=(None, "")):
    name, path = lora
    return EngineRequest("r", tokens, [1], 1, cache_salt=salt, lora_name=name, lora_path=path)


@pytest.mark.parametrize("algorithm", ["sha256", "sha256_cbor", "xxhash", "xxhash_cbor"])
def test_hashes_equal_those_of_vllm(algorithm):
    rows = [row for row in ROWS if row["algorithm"] == algorithm]
    assert len(rows) >= 12
    for row in rows:
        hasher = VLLMBlockHasher(algorithm, row["block_size"], row["seed"])
        asked = request(row["tokens"], row.get("cache_salt"), row.get("lora", (None, "")))
        assert [block.hex() for block in hasher(asked, row["tokens"], None)] == row["hashes"], row


def test_a_chain_can_be_continued_at_any_block():
    hasher = VLLMBlockHasher("sha256_cbor", 4, "0")
    tokens = list(range(20))
    asked = request(tokens, "salt", ("adA", "/a"))
    whole = hasher(asked, tokens, None)
    assert len(whole) == 5
    assert hasher(asked, tokens[8:], whole[1]) == whole[2:]


def test_without_a_seed_the_cryptographic_hashes_are_stable_and_the_others_secret():
    tokens = list(range(4))

    def first(algorithm):
        return VLLMBlockHasher(algorithm, 4, None)(request(tokens), tokens, None)

    assert first("sha256") == first("sha256")
    assert first("xxhash_cbor") != first("xxhash_cbor")


def test_strings_that_are_no_unicode_text_have_a_hash():
    for algorithm in ("sha256", "sha256_cbor"):
        assert VLLMBlockHasher(algorithm, 2, "0")(request([1, 2], "\ud800"), [1, 2], None)
