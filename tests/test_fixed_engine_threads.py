"""The FixedEngine with real threads and the real clock: nobody waits for ever, nothing leaks."""

import random
import threading
import time

import pytest
from engine_support import Recorder, VirtualClock, make_settings, request
from waiting_support import eventually

from vllm_mock.engine import FixedEngine, fixed

PATIENCE_SECONDS = 20


def real_engine(observer=None, **values):
    return FixedEngine(
        make_settings(**({"time_to_first_token": 0.01, "inter_token_latency": 0.001} | values)), observer
    )


@pytest.fixture
def clock_threads():
    """Lists this test's clock threads; engines of other tests, in virtual time, may have left theirs."""

    def listed():
        return {thread for thread in threading.enumerate() if thread.name == "engine-clock"}

    others = listed()
    return lambda: listed() - others


def in_thread(function, *arguments):
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


def test_a_blocked_request_wakes_when_its_turn_comes():
    engine = real_engine(max_num_seqs=1)
    first = engine.submit(request(output=10, arrival=time.monotonic()))
    second = engine.submit(request(output=10, arrival=time.monotonic()))
    timings = []
    thread = in_thread(lambda: timings.append(second.next_timing()))
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert timings[0].due == second.scheduled + 0.01
    assert second.scheduled == max(first.last_token_due, second.queued)


def test_others_get_the_lock_while_the_engine_makes_up_for_much(monkeypatch):
    """More requests than may run at once, all of them due."""
    clock = VirtualClock()
    engine = FixedEngine(make_settings(max_num_seqs=1, time_to_first_token=0.0, inter_token_latency=0.0), clock=clock)
    engine.pause()
    handles = [engine.submit(request()) for _ in range(1000)]
    free = []

    def look():
        free.append(engine._lock.acquire(timeout=1))
        engine._lock.release()

    monkeypatch.setattr(fixed, "give_way", look)
    engine.resume()
    eventually(lambda: engine.idle, PATIENCE_SECONDS)
    assert all(handle.finished_at == clock.now for handle in handles)
    assert len(free) >= 9
    assert all(free)


def test_the_clock_thread_runs_only_while_requests_wait(clock_threads):
    engine = real_engine(max_num_seqs=1, time_to_first_token=1000.0)
    handles = [engine.submit(request())]
    assert not clock_threads()
    handles += [engine.submit(request()) for _ in range(2)]
    assert len(clock_threads()) == 1
    handles[0].abort()
    assert len(clock_threads()) == 1
    handles[1].finish()
    assert not handles[2].waiting
    eventually(lambda: not clock_threads())
    assert engine.submit(request()).waiting
    assert len(clock_threads()) == 1
    engine.abort_all()
    eventually(lambda: not clock_threads())


def test_the_clock_thread_hears_of_an_earlier_end():
    engine = real_engine(max_num_seqs=2, time_to_first_token=0.0, inter_token_latency=1000.0)
    long_ones = [engine.submit(request(output=2)) for _ in range(2)]
    waiting = [engine.submit(request(output=1)) for _ in range(2)]
    threads = [in_thread(handle.next_timing) for handle in waiting]
    time.sleep(0.02)
    long_ones[0].abort()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()
    engine.abort_all()


def test_abort_wakes_whoever_waits():
    engine = real_engine(max_num_seqs=1, time_to_first_token=1000.0)
    engine.submit(request())
    queued = [engine.submit(request()) for _ in range(3)]
    results = []
    threads = [in_thread(lambda handle=handle: results.append(handle.next_timing())) for handle in queued]
    queued[1].abort()
    threads[1].join(PATIENCE_SECONDS)
    assert results == [None]
    engine.abort_all()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert results == [None, None, None]


def test_many_threads_leave_nothing_behind(clock_threads):
    recorder = Recorder()
    engine = real_engine(
        recorder, max_num_seqs=3, num_gpu_blocks=12, block_size=4, time_to_first_token=0.001, inter_token_latency=0.0002
    )
    handles, failures = [], []

    def client(seed):
        choose = random.Random(seed)
        try:
            for _ in range(40):
                prompt = [choose.randrange(2) for _ in range(choose.randrange(1, 20))]
                handle = engine.submit(request(prompt=prompt, output=choose.randrange(1, 10)))
                handles.append(handle)
                if choose.random() < 0.3:
                    in_thread(handle.abort)
                while (timing := handle.next_timing()) is not None:
                    time.sleep(max(0.0, timing.due + (timing.count - 1) * timing.interval - time.monotonic()))
                handle.finish()
        except Exception as failure:
            failures.append(failure)

    clients = [in_thread(client, seed) for seed in range(8)]
    for thread in clients:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()
    assert failures == []
    eventually(lambda: engine.running == 0)
    assert (engine.waiting, engine.kv_cache_usage) == (0, 0.0)
    assert len(handles) == 8 * 40
    for handle in handles:
        assert recorder.of(handle) in (["scheduled", "finished"], ["scheduled", "aborted"], ["aborted"])
    eventually(lambda: not clock_threads())
