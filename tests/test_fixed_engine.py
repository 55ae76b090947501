"""When tokens come in the FixedEngine, and what ends a request; in virtual time."""

import itertools

import pytest
from engine_support import Recorder, make_engine, request

from vllm_mock.engine import TokenTiming

START = 1024.0


def dues(handle):
    """The due time of each token, in seconds after START."""
    times = []
    while (timing := handle.next_timing()) is not None:
        times += [timing.due + number * timing.interval - START for number in range(timing.count)]
    return times


def test_a_whole_request_is_one_timing():
    engine, _ = make_engine()
    handle = engine.submit(request(output=3))
    assert handle.next_timing() == TokenTiming(START + 1.0, 3, 0.25)
    assert handle.next_timing() is None
    assert (handle.first_token_due, handle.last_token_due) == (START + 1.0, START + 1.5)


def test_prefill_takes_time_for_each_token_that_is_not_cached():
    engine, clock = make_engine(prefill_overhead=0.5, prefill_time_per_token=0.125)
    first = engine.submit(request(prompt=range(40), output=1))
    assert dues(first) == [1.0 + 0.5 + 40 * 0.125]
    clock.now = START
    second = engine.submit(request(prompt=range(40), output=1))
    assert second.num_cached_tokens == 32
    assert dues(second) == [1.0 + 0.5 + 8 * 0.125]


def test_without_a_prefix_cache_all_is_computed():
    engine, _ = make_engine(prefill_time_per_token=0.125, enable_prefix_caching=False)
    for _ in range(2):
        handle = engine.submit(request(prompt=range(40), output=1))
        assert handle.num_cached_tokens == 0
        assert dues(handle) == [6.0]


def test_salt_and_adapter_keep_prompts_apart():
    engine, _ = make_engine()
    engine.submit(request(prompt=range(40)))
    assert engine.submit(request(prompt=range(40), cache_salt="s")).num_cached_tokens == 0
    assert engine.submit(request(prompt=range(40), lora_name="a")).num_cached_tokens == 0
    assert engine.submit(request(prompt=range(40))).num_cached_tokens == 32


def test_siblings_share_their_prompt():
    engine, _ = make_engine()
    handles = engine.submit_all([request(prompt=range(40), n=3, index=index) for index in range(3)])
    assert [handle.num_cached_tokens for handle in handles] == [0, 32, 32]


def test_a_finished_answer_is_cached_except_for_its_last_token():
    engine, clock = make_engine(block_size=4)
    first = request(prompt=range(6), output=7)
    engine.submit(first)
    clock.now += 10
    conversation = [*first.prompt_token_ids, *first.output_token_ids]
    assert engine.submit(request(prompt=[*conversation, 5, 5, 5, 5])).num_cached_tokens == 12
    # 6 + 7 tokens, but the last one was never an input: three blocks, not the start of a fourth.
    assert engine.submit(request(prompt=conversation[:12] + [9] * 8)).num_cached_tokens == 12


def test_an_aborted_answer_is_cached_as_far_as_it_came():
    engine, clock = make_engine(block_size=4)
    first = request(prompt=range(4), output=40)
    handle = engine.submit(first)
    clock.now += 1.0 + 5 * 0.25
    handle.abort()
    conversation = [*first.prompt_token_ids, *first.output_token_ids]
    assert engine.submit(request(prompt=conversation)).num_cached_tokens == 8


def test_all_latencies_grow_with_the_load():
    engine, _ = make_engine(max_num_seqs=5, time_factor_under_load=3.0)
    handles = [engine.submit(request(output=2)) for _ in range(5)]
    assert [dues(handle) for handle in handles] == [
        [1.0, 1.25],
        [1.5, 1.875],
        [2.0, 2.5],
        [2.5, 3.125],
        [3.0, 3.75],
    ]


def test_one_seat_has_no_load():
    engine, _ = make_engine(max_num_seqs=1, time_factor_under_load=3.0)
    assert dues(engine.submit(request(output=1))) == [1.0]


def test_requests_beyond_the_capacity_pay_in_their_first_token():
    engine, _ = make_engine(server_capacity=2, overload_penalty=0.5)
    handles = [engine.submit(request(output=2)) for _ in range(4)]
    assert [dues(handle) for handle in handles] == [[1.0, 1.25], [1.0, 1.25], [1.5, 1.75], [2.0, 2.25]]


def test_a_least_duration_stretches_the_gaps():
    engine, _ = make_engine(request_duration=3.0)
    assert dues(engine.submit(request(output=5))) == [1.0, 1.5, 2.0, 2.5, 3.0]
    assert dues(engine.submit(request(output=1))) == [3.0]
    assert dues(engine.submit(request(output=10)))[-1] == 1.0 + 9 * 0.25


def test_a_least_duration_stretches_instant_and_irregular_gaps_too():
    engine, _ = make_engine(request_duration=3.0, inter_token_latency=0.0)
    assert dues(engine.submit(request(output=3))) == [1.0, 2.0, 3.0]
    engine, _ = make_engine(request_duration=30.0, inter_token_latency_std_dev=0.0625)
    times = dues(engine.submit(request(output=9)))
    assert times[0] == 1.0
    assert times[-1] == pytest.approx(30.0)
    assert len(times) == 9


def test_no_latency_at_all():
    engine, _ = make_engine(time_to_first_token=0.0, inter_token_latency=0.0)
    handle = engine.submit(request(output=3))
    assert dues(handle) == [0.0, 0.0, 0.0]
    assert engine.running == 0


def test_deviations_stay_within_70_percent_of_the_mean():
    engine, _ = make_engine(
        time_to_first_token_std_dev=5.0,
        inter_token_latency_std_dev=5.0,
        prefill_overhead=1.0,
        prefill_time_std_dev=5.0,
    )
    firsts = set()
    for _ in range(40):
        times = dues(engine.submit(request(output=20)))
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        firsts.add(times[0])
        assert 0.6 - 1e-9 <= times[0] <= 3.4 + 1e-9
        assert min(gaps) >= 0.25 * 0.3 - 1e-9
        assert max(gaps) <= 0.25 * 1.7 + 1e-9
        assert len(set(gaps)) > 1
    assert len(firsts) > 10


def test_jitter_delays_a_request_once():
    engine, _ = make_engine(latency_jitter=0.5)
    firsts = []
    for _ in range(50):
        times = dues(engine.submit(request(output=3)))
        firsts.append(times[0])
        assert times[2] - times[0] == pytest.approx(0.5)
    assert min(firsts) >= 1.0
    assert max(firsts) <= 1.5
    assert len(set(firsts)) > 10


def test_the_seed_fixes_the_random_latencies():
    def times(seed):
        engine, _ = make_engine(seed=seed, inter_token_latency_std_dev=0.0625, latency_jitter=0.5)
        return dues(engine.submit(request(output=5)))

    assert times(1) == times(1)
    assert times(1) != times(2)


def test_a_queued_request_starts_at_the_very_end_of_another():
    engine, clock = make_engine(max_num_seqs=1)
    handles = [engine.submit(request(output=3)) for _ in range(3)]
    assert (engine.running, engine.waiting) == (1, 2)
    clock.now += 100
    # Nobody looked for a long time; the timelines are as if somebody had.
    assert (engine.running, engine.waiting) == (0, 0)
    assert [dues(handle) for handle in handles] == [[1.0, 1.25, 1.5], [2.5, 2.75, 3.0], [4.0, 4.25, 4.5]]
    assert [handle.scheduled - START for handle in handles] == [0.0, 1.5, 3.0]
    assert [handle.finished_at - START for handle in handles] == [1.5, 3.0, 4.5]
    assert {handle.queued for handle in handles} == {START}


def test_blocks_are_reserved_for_the_whole_output():
    engine, clock = make_engine(num_gpu_blocks=10, block_size=4)
    engine.submit(request(prompt=range(8), output=8))
    assert engine.kv_cache_usage == 0.4
    clock.now += 1.0 + 7 * 0.25
    assert engine.kv_cache_usage == 0.0


def test_a_request_that_waits_for_blocks_starts_when_they_are_freed():
    engine, clock = make_engine(num_gpu_blocks=4, block_size=4)
    engine.submit(request(prompt=range(8), output=8))
    waiting = engine.submit(request(prompt=range(50, 58), output=8))
    clock.now += 2.75
    assert engine.running == 1
    assert waiting.scheduled == START + 2.75


def test_finishing_is_a_formality_after_the_last_token():
    recorder = Recorder()
    engine, clock = make_engine(recorder)
    handle = engine.submit(request(output=2))
    clock.now += 5
    handle.finish()
    handle.finish()
    handle.abort()
    assert handle.finished_at == START + 1.25
    assert recorder.of(handle) == ["scheduled", "finished"]


def test_finishing_early_frees_the_slot():
    recorder = Recorder()
    engine, clock = make_engine(recorder, max_num_seqs=1)
    handle, waiting = engine.submit(request()), engine.submit(request())
    clock.now += 0.5
    handle.finish()
    assert waiting.scheduled == START + 0.5
    clock.now += 10
    assert engine.running == 0
    assert recorder.of(handle) == ["scheduled", "finished"]


@pytest.mark.parametrize("elapsed", [0.0, 0.5, 1.0, 1.5])
def test_abort_frees_a_running_request_at_once(elapsed):
    recorder = Recorder()
    engine, clock = make_engine(recorder, max_num_seqs=1)
    handle, waiting = engine.submit(request()), engine.submit(request())
    clock.now += elapsed
    handle.abort()
    handle.abort()
    assert handle.aborted
    assert handle.next_timing() is None
    assert waiting.scheduled == START + elapsed
    assert (engine.running, engine.waiting) == (1, 0)
    handle.finish()
    assert recorder.of(handle) == ["scheduled", "aborted"]
    clock.now += 10
    assert engine.running == 0
    assert engine.kv_cache_usage == 0.0


def test_abort_takes_a_request_out_of_the_queue():
    recorder = Recorder()
    engine, clock = make_engine(recorder, max_num_seqs=1)
    running, first, second = (engine.submit(request()) for _ in range(3))
    first.abort()
    assert first.next_timing() is None
    assert not first.waiting
    assert (engine.running, engine.waiting) == (1, 1)
    clock.now += 1.75
    assert second.scheduled == running.finished_at or engine.waiting == 0
    assert recorder.of(first) == ["aborted"]


def test_abort_after_the_end_stops_only_the_delivery():
    recorder = Recorder()
    engine, clock = make_engine(recorder)
    handle = engine.submit(request())
    clock.now += 10
    handle.abort()
    assert handle.aborted
    assert handle.next_timing() is None
    assert recorder.of(handle) == ["scheduled", "finished"]


def test_abort_all():
    recorder = Recorder()
    engine, _ = make_engine(recorder, max_num_seqs=2)
    handles = [engine.submit(request()) for _ in range(5)]
    assert engine.abort_all() == 5
    assert (engine.running, engine.waiting, engine.kv_cache_usage) == (0, 0, 0.0)
    assert all(handle.aborted for handle in handles)
    assert [recorder.of(handle) for handle in handles[2:]] == [["aborted"]] * 3
    assert engine.abort_all() == 0


def test_advance_shows_each_running_request():
    engine, clock = make_engine(max_num_seqs=2)
    handles = [engine.submit(request()) for _ in range(3)]
    clock.now += 1.25
    seen = []
    engine.advance(lambda handle, now: seen.append((handle, handle.tokens_due(now))))
    assert seen == [(handles[0], 2), (handles[1], 2)]


def test_tokens_due():
    engine, _ = make_engine()
    handle = engine.submit(request(output=3))
    assert [handle.tokens_due(START + at) for at in (0, 0.99, 1, 1.24, 1.25, 1.5, 9)] == [0, 0, 1, 1, 2, 3, 3]
    engine, _ = make_engine(inter_token_latency_std_dev=0.0625)
    handle = engine.submit(request(output=5))
    assert [handle.tokens_due(START + due) for due in dues(handle)] == [1, 2, 3, 4, 5]


def test_a_queued_request_has_no_timeline_yet():
    engine, _ = make_engine(max_num_seqs=1)
    engine.submit(request())
    handle = engine.submit(request())
    assert handle.waiting
    assert (handle.first_token_due, handle.last_token_due, handle.tokens_due(START + 99)) == (0.0, 0.0, 0)


def test_a_reset_under_running_requests_has_them_computed_anew():
    engine, clock = make_engine(prefill_time_per_token=0.125)
    decoding, starting = engine.submit(request(4, (1, 2, 3, 4))), engine.submit(request(4, (5, 6)))
    clock.now += 1.75
    starting.abort()
    starting = engine.submit(request(2, (7,)))
    clock.now += 0.25
    # The first has two tokens, at 1.5 s and 1.75 s, and a third one now; the other is in its prefill since 0.25 s.
    assert (decoding.tokens_due(clock.now), starting.tokens_due(clock.now)) == (3, 0)
    assert engine.reset_prefix_cache(running_too=True)
    assert decoding.last_token_due == 1024 + 2.25 + 1 + 7 * 0.125
    assert starting.first_token_due == clock.now + 1 + 0.125
    assert (decoding.num_preemptions, starting.num_preemptions) == (1, 1)
    assert decoding.disturbed
    clock.now += 10
    assert engine.running == 0
