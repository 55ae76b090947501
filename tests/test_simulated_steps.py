"""Which step computes what: chunks, budgets, preemption and the pipeline, in virtual time with easy numbers."""

import pytest
from simulation_support import NEVER, Bench, TinyStepTime, make_settings

from vllm_mock.simulate import TraceRequest, simulate

STEP = 1.0


def bench(step_time=None, **values):
    # A step takes a second, and a prompt's tokens no time of their own.
    return Bench(step_time or TinyStepTime(STEP, 0.0), **values)


def batches(bench):
    """(decoders, their context, chunks) of each step."""
    return [(b.decode_requests, b.decode_context_tokens, list(b.prefills)) for b in bench.step_time.batches]


def test_a_prompt_is_computed_in_chunks_beside_a_decoder():
    test = bench(max_num_batched_tokens=8)
    first = test.submit(3, 6)
    test.run_until(1.0)
    second = test.submit(20, 2)
    test.run()
    assert batches(test) == [
        (0, 0, [(3, 0)]),
        (1, 3, []),
        (1, 4, [(7, 0)]),
        (1, 5, [(7, 7)]),
        (1, 6, [(6, 14)]),
        (2, 7 + 20, []),
    ]
    assert first.dues == [1, 2, 3, 4, 5, 6]
    assert (second.scheduled, second.dues) == (2.0, [5.0, 6.0])
    test.check_the_end()


@pytest.mark.parametrize(("ahead", "starts"), [(True, 3.0), (False, 2.0)])
def test_who_arrives_during_step_n_is_in_step_n_plus_2_under_asynchronous_scheduling_else_in_n_plus_1(ahead, starts):
    test = bench(async_scheduling=ahead)
    first = test.submit(3, 6)
    test.run_until(1.5)
    second = test.submit(4, 2)
    test.run()
    assert first.dues == [1, 2, 3, 4, 5, 6]
    # Step 1 runs; it is scheduled when that ends, in both cases.
    assert second.scheduled == 2.0
    assert second.dues == [starts + 1, starts + 2]
    prompts = [number for number, batch in enumerate(test.step_time.batches) if batch.prefills]
    assert prompts == [0, starts]
    test.check_the_end()


@pytest.mark.parametrize(("ahead", "starts"), [(True, 4.75), (False, 3.75)])
def test_the_twin_follows_the_same_rule_from_when_a_request_is_in_the_queue(ahead, starts):
    settings = make_settings(async_scheduling=ahead, frontend_latency=0.75)
    requests = [TraceRequest(0.0, 3, 6), TraceRequest(2.25, 4, 2)]
    first, second = simulate(requests, settings, TinyStepTime(STEP, 0.0))
    assert first.token_times == [1.75, 2.75, 3.75, 4.75, 5.75, 6.75]
    # At 3.0, step 2 runs: since 2.75.
    assert (second.queued, second.scheduled) == (3.0, 3.75)
    assert second.token_times == [starts + 1, starts + 2]
    assert (first.ttft_seconds, first.queue_seconds) == (1.75, 0.0)


def test_a_gpu_without_work_starts_at_once_under_asynchronous_scheduling_too():
    test = bench(async_scheduling=True)
    first = test.submit(3, 1)
    test.run_until(0.5)
    # Nothing is scheduled for the next step, so that is not before the end of this one.
    second = test.submit(3, 2)
    test.run()
    assert (first.dues, second.scheduled, second.dues) == ([1], 1.0, [2, 3])


@pytest.mark.parametrize(("ahead", "due"), [(True, 5.0), (False, 4.0)])
def test_a_seat_is_taken_again_by_the_step_that_is_scheduled_next(ahead, due):
    test = bench(async_scheduling=ahead, max_num_seqs=2)
    first, _, third = test.submit(3, 3), test.submit(3, 9), test.submit(3, 1)
    test.run()
    # While the last step of the first one runs, the next one is scheduled without the third.
    assert (first.dues[-1], third.dues) == (3.0, [due])
    test.check_the_end()


def test_who_loses_its_blocks_in_flight_keeps_the_token_of_that_step():
    test = bench(async_scheduling=True, num_gpu_blocks=5, enable_prefix_caching=False)
    first, second = test.submit(4, 9), test.submit(4, 9)
    test.run()
    assert first.dues == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    # It is in step 2 first, and needs a third block for step 7, which is scheduled while step 6 runs.
    assert second.dues == [3, 4, 5, 6, 7, 10, 11, 12, 13]
    assert second.num_preemptions == 1
    assert (0, 0, [(9, 0)]) in batches(test)
    test.check_the_end()


def test_without_chunks_a_prompt_waits_until_it_fits_as_a_whole():
    test = bench(max_num_batched_tokens=8, enable_chunked_prefill=False)
    test.submit(6, 3)
    second = test.submit(8, 1)
    third = test.submit(1, 1)
    test.run()
    # Beside a decoder there is room for 7 tokens, and the order of arrival is kept.
    assert second.scheduled == 3.0
    assert third.scheduled == 4.0
    test.check_the_end()


def test_the_longest_chunk_leaves_room_for_others():
    test = bench(long_prefill_token_threshold=5)
    long, short = test.submit(12, 1), test.submit(4, 1)
    test.run()
    assert batches(test) == [(0, 0, [(5, 0)]), (0, 0, [(5, 5), (4, 0)]), (0, 0, [(2, 10)])]
    assert short.dues[0] < long.dues[0]


def test_requests_that_came_together_are_computed_together():
    test = bench(max_num_seqs=3)
    handles = [test.submit(4, 3) for _ in range(4)]
    test.run()
    assert [handle.scheduled for handle in handles] == [0, 1, 1, 3]
    assert batches(test)[1] == (1, 4, [(4, 0), (4, 0)])


def test_the_last_one_admitted_loses_its_blocks_and_is_computed_anew():
    test = bench(num_gpu_blocks=5, enable_prefix_caching=False)
    first, second = test.submit(4, 9), test.submit(4, 9)
    test.run_until(6.5)
    third = test.submit(4, 1)
    test.run()
    assert (first.num_preemptions, second.num_preemptions, third.num_preemptions) == (0, 1, 0)
    assert first.dues == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    # The second was a step behind: with five tokens of output it needs a third block, as the first has just done.
    assert second.dues[:5] == [2, 3, 4, 5, 6]
    # Its prompt and what it had said are one prompt now; it comes before the third, which came later.
    assert (0, 0, [(9, 0), (4, 0)]) in batches(test)
    assert test.started == [first, second, third]
    test.check_the_end()


def test_recomputation_finds_what_is_still_cached():
    test = bench(num_gpu_blocks=6)
    test.submit(4, 12)
    second = test.submit(8, 8)
    test.run()
    assert second.num_preemptions == 1
    again = [chunk for b in test.step_time.batches for chunk in b.prefills][-1]
    assert again[0] + again[1] == 8 + len([due for due in second.dues if due < 12])
    assert again[1] > 0
    test.check_the_end()


def test_by_priority_the_least_urgent_one_gives_way():
    test = bench(num_gpu_blocks=5, scheduling_policy="priority")
    first, second = test.submit(4, 9, priority=3), test.submit(4, 9, priority=1)
    test.run()
    assert (first.num_preemptions > 0, second.num_preemptions) == (True, 0)
    assert second.dues[-1] < first.dues[-1]
    test.check_the_end()


@pytest.mark.parametrize("reserves", [True, False])
def test_a_prompt_may_have_to_find_room_as_a_whole(reserves):
    test = bench(num_gpu_blocks=8, max_num_batched_tokens=8, scheduler_reserve_full_isl=reserves)
    test.submit(12, 8)
    second = test.submit(21, 2)
    test.run()
    # After a second, 3 of 8 blocks are in use, and the second request needs 6.
    assert (second.scheduled == 1.0) is not reserves
    test.check_the_end()


def test_prompts_that_begin_alike_share_blocks_at_once():
    test = bench(max_num_batched_tokens=32)
    first = test.submit(range(12), 2)
    twin = test.submit(range(12), 2)
    test.run()
    assert (first.num_cached_tokens, twin.num_cached_tokens) == (0, 8)
    assert batches(test)[1] == (1, 12, [(4, 8)])


def test_stages_of_a_pipeline_work_at_several_batches():
    alone = bench(pipeline_parallel_size=1, max_num_batched_tokens=4, num_gpu_blocks=512)
    piped = bench(pipeline_parallel_size=2, max_num_batched_tokens=4, num_gpu_blocks=512)
    for test in (alone, piped):
        for _ in range(2):
            test.submit(4, 10)
        test.run()
        test.check_the_end()
    # Two batches of one sequence each are under way, half a step apart.
    assert [handle.dues[0] for handle in piped.handles] == [1.0, 1.5]
    assert [handle.dues[-1] for handle in piped.handles] == [10.0, 10.5]
    assert [handle.dues[-1] for handle in alone.handles] == [10.0, 12.0]
    # Prompts that arrive one by one come through in half the time.
    for test in (alone, piped):
        start = test.now
        for _ in range(8):
            test.submit(4, 1)
        test.run()
        test.took = test.now - start
    assert piped.took == pytest.approx(alone.took / 2, abs=STEP)


def test_an_adapter_without_a_slot_is_passed_over():
    test = bench(max_loras=1)
    test.submit(2, 5, lora_name="a")
    waits = test.submit(2, 2, lora_name="b")
    goes = test.submit(2, 2)
    test.run()
    assert goes.scheduled < 2
    assert waits.scheduled == 5.0
    test.check_the_end()


@pytest.mark.parametrize("quarter", range(1, 60))
def test_abort_at_every_point(quarter):
    test = bench(num_gpu_blocks=7, max_num_batched_tokens=6)
    handles = [test.submit(prompt, output) for prompt, output in ((5, 8), (9, 6), (7, 7), (3, 9))]
    test.run_until(quarter / 4)
    victim = handles[quarter % 4]
    test.abort(victim)
    test.run()
    test.check_the_end()
    assert test.gpu.next_event == NEVER
    assert all(due <= quarter / 4 for due in victim.dues) or victim in test.ended


def test_who_runs_is_computed_anew_when_the_cache_is_lost():
    test = bench(num_gpu_blocks=128, max_num_batched_tokens=64)
    handles = [test.submit(8, 6), test.submit(9, 6)]
    test.run_until(2.5)
    test.reset()
    # The step that runs is not taken back; then both begin anew, in their order, and find nothing cached.
    test.run()
    assert batches(test)[3] == (0, 0, [(8 + 3, 0), (9 + 2, 0)])
    assert [handle.dues for handle in handles] == [[1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 6, 7]]
    assert [handle.num_preemptions for handle in handles] == [1, 1]
    test.check_the_end()


def test_nothing_is_kept_of_those_that_left_before_their_end():
    test = bench(max_model_len=10_000, num_gpu_blocks=4096)
    stays = test.submit(4, 400)
    for second in range(1, 50):
        gone = test.submit(4, 4000)
        test.run_until(second + 0.5)
        test.abort(gone)
    (lane,) = test.gpu.lanes
    kept = {handle for steps in (lane.ending, lane.filling) for handles in steps.values() for handle in handles}
    assert kept == {stays}
    test.run()
    assert (lane.ending, lane.filling) == ({}, {})
    test.check_the_end()
