"""Random traces through the simulated GPU: no token is lost or doubled, no block leaks, whatever happens."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation_support import Bench, TinyStepTime

TRACES = 10_000
PARTS = 20


def play(draw) -> Bench:
    """One trace; `draw(low, high)` gives a whole number."""
    policy = ("fcfs", "fcfs", "priority")[draw(0, 2)]
    bench = Bench(
        TinyStepTime(1.0, 0.25),
        scheduling_policy=policy,
        max_num_seqs=draw(1, 5),
        max_num_batched_tokens=draw(6, 24),
        num_gpu_blocks=draw(7, 14),
        long_prefill_token_threshold=(0, 0, 3, 5)[draw(0, 3)],
        enable_prefix_caching=draw(0, 3) > 0,
        scheduler_reserve_full_isl=draw(0, 1) > 0,
        pipeline_parallel_size=(1, 1, 2, 3)[draw(0, 3)],
        max_loras=draw(1, 2),
        kv_cache_transfer_latency=0.75,
        async_scheduling=draw(0, 1) > 0,
    )
    uses_lora, preempts_all, disturbed = draw(0, 3) == 0, draw(0, 9) == 0, draw(0, 2) == 0
    for _ in range(draw(1, 8)):
        prompt, output = draw(1, 16), draw(1, 9)
        shared = draw(0, 2)
        tokens = [*range(min(prompt, 6 * shared)), *(1000 * len(bench.handles) + i for i in range(prompt - 6 * shared))]
        lora = ("a", "b", None)[draw(0, 2)] if uses_lora else None
        bench.submit(
            tokens,
            output,
            priority=draw(0, 2),
            lora_name=lora,
            pooling=output == 1 and draw(0, 1) > 0,
            loads_kv=disturbed and draw(0, 3) == 0,
            delay=1.25 if disturbed and draw(0, 5) == 0 else 0.0,
        )
        if draw(0, 2):
            bench.run_until(bench.now + draw(0, 24) / 4)
        if draw(0, 5) == 0:
            bench.abort(bench.handles[draw(0, len(bench.handles) - 1)])
        if draw(0, 11) == 0:
            bench.gpu.admits = not bench.gpu.admits
            bench.gpu.launch(bench.now)
        if disturbed:
            disturb(bench, draw(0, 6))
    if preempts_all:
        for handle in reversed(bench.handles):
            bench.abort(handle)
    bench.gpu.admits = True
    bench.gpu.launch(bench.now)
    bench.run()
    bench.check_the_end()
    if policy == "fcfs" and not uses_lora:
        assert bench.started == [handle for handle in bench.handles if handle in set(bench.started)]
    return bench


def disturb(bench, what):
    """What an operator does, or the machine."""
    if what == 0:
        bench.hold(2.5)
    elif what == 1:
        bench.reset()
    elif what == 2:
        bench.fails = True


@pytest.mark.parametrize("part", range(PARTS))
def test_random_traces(part):
    preempted = aborted = 0
    for number in range(TRACES // PARTS):
        seed = part * TRACES + number
        source = random.Random(seed)
        try:
            bench = play(source.randint)
        except Exception as error:
            raise AssertionError(f"the trace of seed {seed}") from error
        preempted += bench.preemptions > 0
        aborted += any(handle.aborted for handle in bench.handles)
    # The traces are such that it matters.
    assert preempted > TRACES // PARTS / 20
    assert aborted > TRACES // PARTS / 20


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_trace_that_can_be_made_smaller(data):
    play(lambda low, high: data.draw(st.integers(low, high)))
