"""What an engine tells about its prefix cache, in virtual time: a mirror built from the events holds what it holds."""

import pytest
from engine_support import VirtualClock, make_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from vllm_mock.engine import EngineRequest, FixedEngine
from vllm_mock.engine.kv_events import AllBlocksCleared, BlockRemoved, BlockStored
from vllm_mock.engine.vllm_block_hash import VLLMBlockHasher

BLOCK = 4


def engine_with_events(**values):
    clock = VirtualClock()
    settings = make_settings(block_size=BLOCK, **values)
    return FixedEngine(settings, None, clock, VLLMBlockHasher("sha256_cbor", BLOCK, "0")), clock


def request(prompt, output=1, **fields):
    return EngineRequest("r", list(prompt), list(range(500, 500 + output)), output, **fields)


class Mirror:
    """The hashes that a consumer of the events believes to be cached; refuses what cannot be."""

    def __init__(self):
        self.blocks = {}

    def apply(self, events):
        for event in events:
            match event:
                case BlockStored():
                    assert event.parent is None or event.parent in self.blocks
                    for block in event.hashes:
                        assert block not in self.blocks
                        self.blocks[block] = event
                case BlockRemoved():
                    del self.blocks[event.hash]
                case AllBlocksCleared():
                    self.blocks.clear()


def test_prompt_blocks_are_told_when_the_request_starts_and_output_blocks_as_they_fill():
    engine, clock = engine_with_events()
    handle = engine.submit(request(range(9), output=9))
    (stored,) = engine.take_kv_events()
    assert (stored.start, len(stored.hashes), stored.parent) == (0, 2, None)
    clock.now += 1.0 + 2 * 0.25
    assert engine.take_kv_events() == []
    # The fourth token is due: three have been inputs, and fill the block with the prompt's last token.
    clock.now += 0.25
    (filled,) = engine.take_kv_events()
    assert (filled.start, len(filled.hashes), filled.parent) == (2, 1, stored.hashes[1])
    clock.now += 4 * 0.25
    (filled,) = engine.take_kv_events()
    assert filled.start == 3
    handle.finish()
    assert engine.take_kv_events() == []


def test_a_prefix_hit_tells_only_what_is_new():
    engine, clock = engine_with_events()
    engine.submit(request(range(8)))
    first = engine.take_kv_events()[0]
    clock.now += 5
    # The last block is cached, but not hit: the prompt's last token is always computed.
    again = engine.submit(request(range(8)))
    assert (again.num_cached_tokens, engine.take_kv_events()) == (4, [])
    longer = engine.submit(request(range(13)))
    assert longer.num_cached_tokens == 8
    (stored,) = engine.take_kv_events()
    assert (stored.start, stored.parent) == (2, first.hashes[1])


def test_a_request_may_ask_for_events_of_what_it_finds():
    engine, _clock = engine_with_events()
    engine.submit(request(range(8)))
    first = engine.take_kv_events()[0]
    engine.submit(request(range(13), reports_hits=True))
    found, stored = engine.take_kv_events()
    assert (found.start, found.hashes, found.parent) == (0, first.hashes, None)
    assert (stored.start, stored.parent) == (2, first.hashes[1])


def test_eviction_and_reset_are_told_in_order():
    engine, clock = engine_with_events(num_gpu_blocks=4)
    engine.submit(request(range(8)))
    stored = engine.take_kv_events()[0]
    clock.now += 5
    assert engine.reset_prefix_cache()
    engine.submit(request(range(8)))
    clock.now += 5
    engine.submit(request(range(100, 111)))
    cleared, same, *removed, last = engine.take_kv_events()
    assert isinstance(cleared, AllBlocksCleared)
    assert same.hashes == stored.hashes
    assert [event.hash for event in removed] == stored.hashes[:0:-1]
    assert len(last.hashes) == 2


def test_a_reset_waits_for_no_request_and_fails_while_one_runs():
    engine, clock = engine_with_events()
    engine.submit(request(range(8)))
    engine.take_kv_events()
    assert not engine.reset_prefix_cache()
    clock.now += 5
    assert engine.reset_prefix_cache()
    assert engine.take_kv_events() == [AllBlocksCleared()]


@pytest.mark.parametrize("blocks", [5, 9])
@settings(deadline=None)
@given(st.lists(st.tuples(st.lists(st.integers(0, 1), min_size=1, max_size=12), st.integers(1, 8)), max_size=40))
def test_a_mirror_of_the_events_knows_what_every_request_finds(blocks, sizes):
    engine, clock = engine_with_events(num_gpu_blocks=blocks, max_num_seqs=3)
    mirror = Mirror()
    hasher = VLLMBlockHasher("sha256_cbor", BLOCK, "0")
    for prompt, output in sizes:
        asked = request(prompt, output)
        mirror.apply(engine.take_kv_events())
        known = 0
        for block in hasher(asked, prompt, None)[: (len(prompt) - 1) // BLOCK]:
            if block not in mirror.blocks:
                break
            known += BLOCK
        handle = engine.submit(asked)
        if not handle.waiting:
            assert handle.num_cached_tokens == known
        clock.now += 0.6
    clock.now += 1000
    mirror.apply(engine.take_kv_events())
    assert engine.reset_prefix_cache()
