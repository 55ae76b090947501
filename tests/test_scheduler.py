"""Order of admission and limits of the queue."""

import pytest
from engine_support import Recorder, make_engine, request
from hypothesis import given
from hypothesis import strategies as st

from vllm_mock.engine import NeverFits, QueueFull
from vllm_mock.engine.removable_heap import RemovableHeap


def start_order(recorder, handles):
    return [handles.index(handle) for event, handle in recorder.events if event == "scheduled"]


def test_requests_start_in_the_order_of_their_arrival():
    recorder = Recorder()
    engine, clock = make_engine(recorder, max_num_seqs=1)
    handles = [engine.submit(request(priority=-index)) for index in range(4)]
    clock.now += 100
    engine.advance()
    assert start_order(recorder, handles) == [0, 1, 2, 3]


def test_a_lower_priority_value_starts_first_and_equals_as_they_arrived():
    recorder = Recorder()
    engine, clock = make_engine(recorder, max_num_seqs=1, scheduling_policy="priority")
    arrivals = [(5, 0), (1, 3), (0, 4), (1, 2), (0, 5)]
    handles = [engine.submit(request(priority=priority, arrival=1024.0 + at)) for priority, at in arrivals]
    clock.now += 100
    engine.advance()
    assert start_order(recorder, handles) == [0, 2, 4, 3, 1]


def test_the_head_of_the_queue_blocks_smaller_requests_behind_it():
    engine, _ = make_engine(num_gpu_blocks=4, block_size=4)
    engine.submit(request(prompt=range(8), output=4))
    big = engine.submit(request(prompt=range(20, 28), output=4))
    small = engine.submit(request(prompt=[1], output=1))
    assert big.waiting
    assert small.waiting
    big.abort()
    assert not small.waiting


def test_what_can_never_fit_is_refused_at_once():
    engine, _ = make_engine(num_gpu_blocks=4, block_size=4)
    engine.submit(request(prompt=range(12), output=4))
    with pytest.raises(NeverFits) as refusal:
        engine.submit(request(prompt=range(12), output=5))
    assert (refusal.value.needed_blocks, refusal.value.total_blocks) == (5, 4)
    with pytest.raises(NeverFits):
        engine.submit_all([request(output=1, n=2, index=0), request(output=16, n=2, index=1)])
    assert engine.waiting == 0


@pytest.mark.parametrize("fields", [{"output": 0}, {"finish_reason": "tool_calls"}])
def test_what_is_no_request_is_refused_when_it_is_made(fields):
    with pytest.raises(ValueError):
        request(**fields)


def test_the_limit_of_requests_counts_running_ones_as_vllm_does():
    recorder = Recorder()
    engine, clock = make_engine(recorder, max_num_queued_reqs=2)
    engine.submit_all([request(n=2, index=0), request(n=2, index=1)])
    with pytest.raises(QueueFull) as refusal:
        engine.submit(request())
    assert refusal.value.reason == "max_num_queued_reqs"
    clock.now += 10
    engine.submit(request())


def test_each_prompt_of_a_list_is_looked_at_but_all_or_none_come_in():
    recorder = Recorder()
    engine, _ = make_engine(recorder, max_num_queued_reqs=2)
    with pytest.raises(QueueFull):
        engine.submit_all([request(n=5, index=index) for index in range(5)])
    with pytest.raises(QueueFull):
        engine.submit_all([request() for _ in range(4)])
    assert recorder.rejections == [("max_num_queued_reqs", 1), ("max_num_queued_reqs", 2)]
    assert recorder.events == []
    assert engine.running == engine.waiting == 0
    engine.submit_all([request(), request()])


def test_the_limit_of_tokens_refuses_only_when_the_backlog_has_reached_it():
    recorder = Recorder()
    engine, clock = make_engine(recorder, max_num_queued_tokens=20)
    engine.submit(request(prompt=range(100)))
    with pytest.raises(QueueFull) as refusal:
        engine.submit(request(prompt=[1]))
    assert refusal.value.reason == "max_num_queued_tokens"
    clock.now += 1.0
    engine.submit_all([request(prompt=range(8)) for _ in range(3)])
    clock.now += 1.0
    with pytest.raises(QueueFull):
        engine.submit_all([request(prompt=range(8)) for _ in range(5)])
    assert recorder.rejections == [("max_num_queued_tokens", 1), ("max_num_queued_tokens", 2)]
    engine.submit_all([request(prompt=range(8), n=10, index=index) for index in range(10)])


def test_queued_prompts_count_in_the_backlog():
    engine, clock = make_engine(max_num_seqs=1, max_num_queued_tokens=8)
    engine.submit(request(prompt=[1], output=40))
    engine.submit(request(prompt=range(7)))
    clock.now += 2
    engine.submit(request(prompt=[1]))
    with pytest.raises(QueueFull):
        engine.submit(request(prompt=[1]))


def test_the_waiting_queue_has_a_length_of_its_own():
    recorder = Recorder()
    engine, clock = make_engine(recorder, max_num_seqs=2, max_waiting_queue_length=1)
    engine.submit_all([request(), request(), request()])
    with pytest.raises(QueueFull) as refusal:
        engine.submit(request())
    assert refusal.value.reason == "max_num_queued_reqs"
    assert recorder.rejections == [("max_num_queued_reqs", 1)]
    clock.now += 1.75
    engine.submit(request())
    assert (engine.running, engine.waiting) == (2, 0)


def test_no_waiting_queue_at_all():
    engine, _ = make_engine(num_gpu_blocks=4, block_size=4, max_waiting_queue_length=0)
    engine.submit(request(prompt=range(4), output=4))
    with pytest.raises(QueueFull):
        engine.submit_all([request(prompt=range(9, 13), output=4), request(prompt=[1], output=1)])
    engine.submit(request(prompt=range(9, 13), output=4))


KEYS = st.lists(st.tuples(st.sampled_from(["push", "pop", "remove"]), st.integers(0, 5)), max_size=80)


@given(KEYS)
def test_a_heap_with_withdrawals_is_a_sorted_list(steps):
    heap, model = RemovableHeap(), []
    for number, (step, value) in enumerate(steps):
        if step == "push":
            heap.push(value, number)
            model.append((value, number))
            model.sort()
        elif step == "pop" and model:
            assert heap.first() == model[0]
            assert heap.pop() == model.pop(0)[1]
        elif step == "remove" and model:
            assert heap.remove(model.pop(value % len(model))[1])
            assert not heap.remove(number)
        assert len(heap) == len(model)
        assert heap.first() == (model[0] if model else None)
    assert sorted(heap.items()) == sorted(item for _, item in model)
