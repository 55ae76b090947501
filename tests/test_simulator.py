"""Simulator: the simulated GPU on a clock that runs, with real threads around it."""

import threading
import time
from itertools import pairwise

import engine_support
import pytest
from simulation_support import TinyStepTime, make_settings

from vllm_mock.engine import EnginePaused, EngineRequest, NeverFits, QueueFull
from vllm_mock.engine.kv_events import AllBlocksCleared, BlockStored
from vllm_mock.engine.simulated import SimulatedClock, Simulator
from vllm_mock.engine.vllm_block_hash import VLLMBlockHasher

STEP = 0.02
# An output that lasts longer than any test takes on a busy machine.
LONG = 200


class Recorder(engine_support.Recorder):
    """What a simulation tells beside what every engine does."""

    def stopped(self, handle):
        self.events.append(("stopped", handle))

    def preempted(self, handle):
        self.events.append(("preempted", handle))


def make(observer=None, step=STEP, hasher=None, **values):
    return Simulator(make_settings(**values), TinyStepTime(step, 0.0), observer, hasher)


def request(prompt=3, output=5, name="r", **fields):
    ids = prompt if isinstance(prompt, list) else list(range(prompt))
    return EngineRequest(name, ids, list(range(100, 100 + output)), output, **fields)


def follow(handle):
    """The times of its tokens on the wall's clock, read as a stream does it."""
    times = []
    while (timing := handle.next_timing()) is not None:
        assert timing.count == 1
        time.sleep(max(0.0, timing.due - time.monotonic()))
        times.append(timing.due)
    handle.finish()
    return times


def gaps(times):
    return [round(later - earlier, 6) for earlier, later in pairwise(times)]


def test_each_step_gives_a_token_at_its_exact_time():
    engine = make()
    handle = engine.submit(request(output=8))
    times = follow(handle)
    assert gaps(times) == [STEP] * 7
    assert times[0] == pytest.approx(handle.queued + STEP, abs=1e-9)
    assert handle.dues == times
    assert (engine.running, engine.waiting, engine.kv_cache_usage, engine.idle) == (0, 0, 0.0, True)


def test_a_request_reaches_the_queue_when_the_frontend_is_through_with_it():
    engine = make(frontend_latency=0.2, max_num_queued_reqs=2)
    handle, gone = engine.submit(request(output=3)), engine.submit(request(output=3))
    assert handle.queued == pytest.approx(handle.request.arrival + 0.2, abs=1e-9)
    # It is in no queue yet, but counts as unfinished.
    assert (engine.running, engine.waiting, engine.idle) == (0, 0, False)
    with pytest.raises(QueueFull):
        engine.submit(request())
    gone.abort()
    times = follow(handle)
    assert times[0] == pytest.approx(handle.request.arrival + 0.2 + STEP, abs=1e-9)
    assert (handle.scheduled, gaps(times)) == (handle.queued, [STEP] * 2)
    assert engine.idle
    # What the server itself has taken since the request arrived is part of it.
    late = engine.submit(request(output=1, arrival=time.monotonic() - 1.0))
    assert late.queued > late.request.arrival + 0.9
    assert len(follow(late)) == 1


def test_requests_reach_the_queue_while_the_engine_is_held():
    engine = make(frontend_latency=0.1)
    engine.pause(hold=True)
    handle = engine.submit(request(output=2))
    assert engine.waiting == 0
    time.sleep(0.2)
    assert (engine.waiting, handle.scheduled) == (1, 0.0)
    engine.resume()
    assert len(follow(handle)) == 2
    assert handle.scheduled > handle.queued + 0.05


def test_many_threads_get_the_tokens_of_the_same_steps():
    engine = make(max_num_seqs=64, max_num_batched_tokens=64, num_gpu_blocks=512)
    handles = [engine.submit(request([number, 1], output=10)) for number in range(40)]
    results = [None] * len(handles)

    def run(number):
        results[number] = follow(handles[number])

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(handles))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(gaps(times) == [STEP] * 9 for times in results)
    # Of 400 tokens most come in the same steps: while all of them run, a step is a step for all.
    assert len({time for times in results for time in times}) < 100


def test_nobody_needs_to_look():
    recorder = Recorder()
    engine = make(recorder)
    handle = engine.submit(request(output=3))
    deadline = time.monotonic() + 30
    while len(recorder.events) < 2 and time.monotonic() < deadline:
        time.sleep(STEP)
    assert recorder.of(handle) == ["scheduled", "finished"]


def test_what_can_never_fit_and_full_queues_are_refused():
    engine = make(num_gpu_blocks=4, max_num_queued_reqs=1)
    with pytest.raises(NeverFits):
        engine.submit(request(prompt=15, output=2))
    engine.pause()
    handle = engine.submit(request(output=10))
    with pytest.raises(QueueFull):
        engine.submit(request())
    handle.abort()


def test_who_only_waits_for_the_next_step_is_not_in_the_queue():
    engine = make(step=2.0, max_num_seqs=8, max_waiting_queue_length=2)
    for number in range(10):
        engine.submit(request([number], output=2))
    assert (engine.running, engine.waiting) == (1, 9)
    with pytest.raises(QueueFull):
        engine.submit(request([10], output=2))
    engine.abort_all()


def test_the_backlog_is_of_prompts_that_have_no_token_yet():
    engine = make(step=0.6, max_num_queued_tokens=8, max_num_seqs=2)
    first = engine.submit(request(prompt=8, output=10))
    assert (engine.running, engine.waiting) == (1, 0)
    with pytest.raises(QueueFull):
        engine.submit(request(prompt=1))
    while not first.tokens_due(engine.now):
        time.sleep(0.01)
    assert engine.submit(request(prompt=1))
    engine.abort_all()


def test_an_aborted_request_lets_the_next_one_in_and_nobody_hang():
    recorder = Recorder()
    engine = make(recorder, max_num_seqs=1)
    first, second = engine.submit(request(output=LONG)), engine.submit(request(output=2))
    woken = []
    thread = threading.Thread(target=lambda: woken.append(second.next_timing()))
    thread.start()
    assert (engine.running, engine.waiting) == (1, 1)
    first.abort()
    assert first.next_timing() is None
    assert recorder.of(first) == ["scheduled", "aborted"]
    thread.join(5)
    assert woken[0] is not None
    follow(second)
    third = engine.submit(request(output=LONG))
    threading.Timer(STEP, third.abort).start()
    assert len(follow(third)) < LONG
    assert engine.abort_all() == engine.abort_all() == 0


def test_a_pause_lets_running_requests_end_and_others_wait():
    engine = make()
    running = engine.submit(request(output=4))
    engine.pause(rejects=False)
    queued = engine.submit(request(output=2))
    assert len(follow(running)) == 4
    assert (engine.running, engine.waiting) == (0, 1)
    engine.resume()
    assert len(follow(queued)) == 2


def test_a_rejecting_pause_refuses():
    engine = make()
    engine.pause(rejects=True)
    with pytest.raises(EnginePaused):
        engine.submit(request())
    engine.resume()
    assert len(follow(engine.submit(request()))) == 5


def test_a_held_engine_stands_still_and_goes_on_where_it_was():
    engine = make()
    handle = engine.submit(request(output=60))
    time.sleep(2.5 * STEP)
    started = time.monotonic()
    engine.pause(hold=True)
    assert handle.held
    assert handle.disturbed
    now = engine.now
    before = handle.tokens_due(now)
    late, gone = engine.submit(request(output=1)), engine.submit(request(output=1))
    assert late.queued > now
    time.sleep(5 * STEP)
    gone.abort()
    assert gone.finished_at >= gone.queued + 5 * STEP
    assert handle.tokens_due(engine.now) <= before + 1
    assert (engine.running, engine.waiting) == (1, 1)
    engine.resume()
    longest = time.monotonic() - started
    assert not handle.held
    handle.wait_for_last_timing()
    time.sleep(max(0.0, handle.last_token_due - time.monotonic()))
    assert engine.idle
    spread = gaps(handle.dues)
    assert spread.count(STEP) == 58
    assert STEP * 6 - 1e-5 < max(spread) < STEP + longest + 1e-5
    assert late.dues


def test_who_is_held_while_the_cache_is_lost_goes_on_as_well():
    engine = make(kv_cache_transfer_latency=5.0)
    fetches = engine.submit(request(output=2, loads_kv=True, cache_salt="x"))
    decodes = engine.submit(request(output=60))
    engine.pause(hold=True)
    assert engine.reset_prefix_cache(running_too=True)
    assert decodes.held
    assert fetches.held
    engine.resume()
    assert not fetches.held
    assert len(follow(decodes)) == 60
    assert len(follow(fetches)) == 2
    assert (decodes.num_preemptions, fetches.num_preemptions) == (1, 1)


def test_stop_ends_requests_with_what_they_have():
    recorder = Recorder()
    engine = make(recorder, max_num_seqs=1)
    running, queued = engine.submit(request(output=LONG, name="a")), engine.submit(request(output=LONG, name="b"))
    time.sleep(2.5 * STEP)
    assert engine.stop({"a"}) == 1
    assert 2 <= running.cut == len(running.dues) < LONG
    assert running.next_timing() is None
    assert recorder.of(running) == ["scheduled", "stopped"]
    assert engine.stop() == 1
    assert queued.cut == len(queued.dues) < LONG
    assert engine.idle


def test_simulated_time_may_run_faster():
    settings = make_settings(time_scale=20.0)
    engine = Simulator(settings, TinyStepTime(1.0, 0.0))
    started = time.monotonic()
    handle = engine.submit(request(output=10))
    times = follow(handle)
    assert gaps(times) == [pytest.approx(0.05, abs=1e-6)] * 9
    assert gaps(handle.dues) == [1.0] * 9
    assert handle.last_token_due - handle.first_token_due == 9.0
    assert handle.deadline == times[-1]
    assert 0.5 - 1e-3 < time.monotonic() - started < 5
    assert handle.finished_at - handle.queued == pytest.approx(10.0, abs=1e-3)


def test_the_clock_goes_to_and_fro():
    clock = SimulatedClock(8.0)
    now = time.monotonic()
    assert clock.wall(clock.simulated(now)) == pytest.approx(now, abs=1e-6)
    assert clock.wall(clock.simulated(now)) >= now
    assert SimulatedClock().simulated(5.0) == 5.0


def test_a_prefix_is_found_and_forgotten():
    engine = make()
    prompt = list(range(12))
    follow(engine.submit(request(prompt, output=2)))
    second = engine.submit(request(prompt, output=2))
    follow(second)
    # Blocks have four tokens, and the last token of a prompt is always computed.
    assert second.num_cached_tokens == 8
    assert engine.reset_prefix_cache()
    third = engine.submit(request(prompt, output=50))
    assert not engine.reset_prefix_cache()
    assert engine.reset_prefix_cache(running_too=True)
    assert third.num_cached_tokens == 0
    assert len(follow(third)) == 50
    assert engine.kv_cache_usage == 0.0


def test_kv_events_tell_of_each_block_once():
    settings = make_settings()
    engine = make(hasher=VLLMBlockHasher("sha256", settings.block_size, "0"))
    handle = engine.submit(request(list(range(9)), output=8))
    follow(handle)
    assert engine.idle
    events = [event for event in engine.take_kv_events() if isinstance(event, BlockStored)]
    hashes = [block for event in events for block in event.hashes]
    # 9 tokens of prompt and 7 of output were inputs: four blocks.
    assert len(hashes) == len(set(hashes)) == 4
    assert events[0].parent is None
    assert [event.start for event in events] == sorted(event.start for event in events)
    engine.reset_prefix_cache()
    assert engine.take_kv_events() == [AllBlocksCleared()]


def test_a_prompt_from_a_peer_takes_the_time_of_its_transfer():
    engine = make(kv_cache_transfer_latency=0.4, kv_cache_transfer_time_per_token=0.01)
    handle = engine.submit(request(prompt=10, output=2, loads_kv=True))
    assert engine.kv_fetches() == (0, 1)
    other = engine.submit(request(prompt=[7], output=3))
    times = follow(handle)
    assert times[0] - handle.queued == pytest.approx(0.5 + STEP, abs=STEP + 1e-6)
    assert (handle.num_external_tokens, handle.num_cached_tokens) == (10, 0)
    assert engine.kv_fetches() == (0, 0)
    assert other.dues[-1] < times[0]
    gone = engine.submit(request(prompt=10, output=2, loads_kv=True, cache_salt="x"))
    gone.abort()
    assert engine.idle
    time.sleep(0.6)
    assert engine.idle
