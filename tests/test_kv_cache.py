"""The paged KV cache: counting, sharing and eviction of blocks."""

from hypothesis import given
from hypothesis import strategies as st

from vllm_mock.engine.block_hash import block_hashes, root_hash
from vllm_mock.engine.kv_cache import KVCache

BLOCK = 4


def hashes(tokens, salt=None, lora=None):
    return block_hashes(tokens, BLOCK, root_hash(salt, lora))


def allocate(cache, tokens, output=0, **root):
    return cache.allocate(hashes(tokens, **root), len(tokens), len(tokens) + output)


def test_blocks_cover_prompt_and_output():
    cache = KVCache(10, BLOCK)
    allocation = allocate(cache, range(5), output=4)
    assert cache.used_blocks == 3
    cache.release(allocation)
    assert cache.used_blocks == 0
    assert cache.free_blocks == 10


def test_only_full_blocks_have_a_hash_and_each_depends_on_those_before():
    assert len(hashes(range(11))) == 2
    assert hashes([1] * 8)[0] != hashes([1] * 8)[1]
    assert hashes([9, 2, 3, 4, 5, 6, 7, 8])[1] != hashes(range(1, 9))[1]
    assert hashes(range(8)) == hashes(list(range(8)))


def test_a_running_request_shares_its_prompt_blocks():
    cache = KVCache(10, BLOCK)
    first = allocate(cache, range(10), output=2)
    second = allocate(cache, range(10), output=2)
    assert (first.hit_blocks, second.hit_blocks) == (0, 2)
    assert cache.used_blocks == 3 + 1
    cache.release(first)
    assert cache.used_blocks == 3


def test_the_last_prompt_token_is_always_computed():
    cache = KVCache(10, BLOCK)
    cache.release(allocate(cache, range(8)))
    again = allocate(cache, range(8))
    assert again.hit_blocks == 1
    assert cache.used_blocks == 2
    longer = allocate(cache, range(9))
    assert longer.hit_blocks == 2


def test_salt_and_adapter_separate_prompts():
    cache = KVCache(20, BLOCK)
    allocate(cache, range(9))
    assert allocate(cache, range(9), salt="s").hit_blocks == 0
    assert allocate(cache, range(9), lora="a").hit_blocks == 0
    assert allocate(cache, range(9), salt="s").hit_blocks == 2


def test_full_output_blocks_stay_cached_for_the_next_turn():
    cache = KVCache(10, BLOCK)
    prompt, output = list(range(6)), list(range(100, 107))
    allocation = allocate(cache, prompt, output=len(output))
    conversation = prompt + output
    cache.store(allocation, hashes(conversation)[1:])
    assert allocation.stored == hashes(conversation)[1:]
    cache.release(allocation)
    assert allocate(cache, [*conversation, 7, 7]).hit_blocks == 3


def test_the_least_recently_used_block_goes_first_and_the_tail_before_the_head():
    cache = KVCache(4, BLOCK)
    cache.release(allocate(cache, range(8)))
    cache.release(allocate(cache, range(100, 108)))
    assert cache.cached_blocks == 4
    cache.release(cache.allocate((), 1, 1))
    assert allocate(cache, range(9)).hit_blocks == 1


def test_a_hit_makes_a_block_recently_used():
    cache = KVCache(4, BLOCK)
    cache.release(allocate(cache, range(5)))
    cache.release(allocate(cache, range(100, 105)))
    cache.release(allocate(cache, range(5)))
    cache.release(cache.allocate((), 1, 3 * BLOCK))
    assert allocate(cache, range(5)).hit_blocks == 1


def test_referenced_blocks_are_never_evicted():
    cache = KVCache(3, BLOCK)
    held = allocate(cache, range(8))
    assert cache.allocate((), 1, 2 * BLOCK) is None
    assert cache.used_blocks == 2
    cache.release(held)
    assert cache.allocate((), 1, 3 * BLOCK) is not None
    assert cache.cached_blocks == 0


def test_reused_idle_blocks_are_not_counted_as_free():
    cache = KVCache(3, BLOCK)
    cache.release(allocate(cache, range(8)))
    assert cache.blocks_needed(hashes(range(8)), 8, 4 * BLOCK) == 4
    assert allocate(cache, range(8), output=8) is None
    assert allocate(cache, range(8), output=4) is not None


def test_content_that_another_request_holds_is_not_stored_again():
    cache = KVCache(10, BLOCK)
    first, second = allocate(cache, range(2), output=8), allocate(cache, range(2), output=8)
    full = hashes([*range(2), *range(6)])
    cache.store(first, full)
    cache.store(second, full)
    assert (first.stored, second.stored) == (full, [])
    assert (cache.cached_blocks, cache.used_blocks) == (2, 6)
    cache.release(first)
    cache.allocate((), 1, 6 * BLOCK)
    assert allocate(cache, [*range(2), *range(6), 7]).hit_blocks == 2
    cache.release(second)
    assert cache.cached_blocks == 2


def test_a_recomputed_block_takes_the_place_of_its_unreferenced_copy():
    cache = KVCache(4, BLOCK)
    cache.release(allocate(cache, range(8)))
    again = allocate(cache, range(8))
    assert (again.hit_blocks, again.stored, cache.used_blocks, cache.cached_blocks) == (1, [], 2, 2)
    assert cache.allocate((), 1, 2 * BLOCK) is not None
    cache.release(again)
    assert cache.cached_blocks == 2


def test_an_evicted_block_is_told():
    cache = KVCache(3, BLOCK)
    evicted = []
    cache.on_evicted = evicted.append
    cache.release(allocate(cache, range(8)))
    assert evicted == []
    cache.allocate((), 1, 3 * BLOCK)
    assert evicted == hashes(range(8))[::-1]


def test_a_reset_forgets_everything_unless_a_block_is_held():
    cache = KVCache(5, BLOCK)
    cache.release(allocate(cache, range(8)))
    held = allocate(cache, range(3))
    assert not cache.reset()
    assert cache.cached_blocks == 2
    cache.release(held)
    assert cache.reset()
    assert allocate(cache, range(9)).hit_blocks == 0


PROMPTS = st.lists(st.integers(0, 2), min_size=1, max_size=14)


@given(st.lists(st.tuples(st.booleans(), PROMPTS, st.integers(1, 9), st.integers(0, 99)), max_size=60))
def test_no_block_is_lost_or_doubled(steps):
    cache = KVCache(9, BLOCK)
    held = []
    for is_release, prompt, output, pick in steps:
        if is_release and held:
            tokens, prompt_length, allocation = held.pop(pick % len(held))
            cache.store(allocation, hashes(tokens)[prompt_length // BLOCK :])
            cache.release(allocation)
        else:
            needed = cache.blocks_needed(hashes(prompt), len(prompt), len(prompt) + output)
            free = cache.free_blocks
            allocation = allocate(cache, prompt, output)
            assert (allocation is None) == (needed > free)
            if allocation is not None:
                assert cache.free_blocks == free - needed
                held.append((prompt + list(range(output)), len(prompt), allocation))
        assert 0 <= cache.used_blocks <= cache.num_blocks
        assert 0 <= cache.cached_blocks <= cache.num_blocks
    for _, _, allocation in held:
        cache.release(allocation)
    assert cache.used_blocks == 0
