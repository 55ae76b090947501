"""Numbers of KV blocks that a peer is told of: unique among the blocks in use, the same for shared content."""

from engine_support import make_engine, request


def numbered(engine, clock, prompt, output=1):
    handle = engine.submit(request(output, prompt, hands_over_kv=True))
    clock.now += 100
    handle.finish()
    return list(handle.block_ids)


def test_shared_content_has_the_same_numbers_and_private_ones_are_used_again():
    engine, clock = make_engine(block_size=4)
    assert numbered(engine, clock, range(9)) == [1, 2, 3]
    assert numbered(engine, clock, range(13)) == [1, 2, 3, 4]
    assert numbered(engine, clock, range(50, 55)) == [4, 5]


def test_an_output_block_keeps_its_number_once_it_is_cached():
    engine, clock = make_engine(block_size=4)
    assert numbered(engine, clock, range(4), output=6) == [1, 2, 3]
    turn = [*range(4), *range(1000, 1004), 7]
    assert numbered(engine, clock, turn) == [1, 2, 3]
    assert engine.submit(request(1, turn)).num_cached_tokens == 8


def test_running_requests_never_have_a_number_in_common_but_for_shared_content():
    engine, _clock = make_engine(block_size=4)
    first = engine.submit(request(4, range(9), hands_over_kv=True))
    second = engine.submit(request(4, [*range(8), 99], hands_over_kv=True))
    assert set(first.block_ids) & set(second.block_ids) == set(first.block_ids[:2])


def test_numbers_of_evicted_blocks_and_of_a_reset_cache_are_free():
    engine, clock = make_engine(block_size=4, num_gpu_blocks=4)
    assert numbered(engine, clock, range(9)) == [1, 2, 3]
    assert sorted(numbered(engine, clock, range(50, 63))) == [1, 2, 3, 4]
    held = engine.submit(request(1, range(70, 73), hands_over_kv=True))
    assert engine.reset_prefix_cache(running_too=True)
    assert not set(numbered(engine, clock, range(80, 91))) & set(held.block_ids)
    assert engine.reset_prefix_cache()
    assert numbered(engine, clock, range(9)) == [1, 2, 3]
