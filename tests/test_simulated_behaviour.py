"""What an engineer who runs GPUs expects of one, in virtual time with the roofline's step times."""

from functools import lru_cache
from itertools import pairwise
from statistics import mean, median

from vllm_mock.engine.sizing import sized
from vllm_mock.engine.step_time import step_time
from vllm_mock.settings import load
from vllm_mock.simulate import TraceRequest, simulate

MODEL = "meta-llama/Llama-3.1-8B-Instruct"


@lru_cache
def gpu(device, flags):
    settings = load(["--step-time", "roofline", "--model", MODEL, *flags], {"SIMULATION": device})
    settings = sized(settings)
    return settings, step_time(settings)


def run(requests, *flags, device="h100", **options):
    return simulate(requests, *gpu(device, flags), **options)


def throughput(results):
    """Output tokens per second."""
    return sum(len(result.token_times) for result in results) / max(result.token_times[-1] for result in results)


def gaps(result):
    return [later - earlier for earlier, later in pairwise(result.token_times)]


def test_throughput_rises_with_concurrency_and_saturates():
    rates = [
        throughput(run([TraceRequest(0.0, 512, 64)] * (2 * clients), concurrency=clients))
        for clients in (1, 4, 16, 64, 256)
    ]
    factors = [later / earlier for earlier, later in pairwise(rates)]
    assert rates == sorted(rates)
    assert factors[0] > 3
    assert factors[-1] < 1.6
    assert factors == sorted(factors, reverse=True)


def test_a_long_prefill_stops_the_others_unless_it_is_cut_up():
    requests = [TraceRequest(0.0, 100, 150) for _ in range(8)] + [TraceRequest(0.5, 16_000, 4)]
    flags = ("--max-model-len", "20000", "--max-num-batched-tokens")
    # The whole prompt in one step, as without chunked prefill.
    whole = run(requests, *flags, "20000", "--no-enable-chunked-prefill")
    chunked = run(requests, *flags, "512")
    alone = run(requests[:8], *flags, "512")
    worst_whole, worst_chunked = max(gaps(whole[0])), max(gaps(chunked[0]))
    usual = median(gaps(alone[0]))
    assert worst_whole > 50 * usual
    assert worst_chunked < 7 * usual
    # Cutting it up costs the long one some time.
    assert chunked[8].ttft_seconds > whole[8].ttft_seconds


def test_the_first_token_waits_for_the_prompt_and_less_for_a_cached_one():
    times = [run([TraceRequest(0.0, tokens, 4)])[0].ttft_seconds for tokens in (100, 1000, 4000, 16_000)]
    assert times == sorted(times)
    assert times[3] > 3.5 * times[2]
    shared = [TraceRequest(second, 4000, 4, prefix_id="system", prefix_tokens=3900) for second in (0.0, 2.0)]
    first, again = run(shared)
    assert again.cached_tokens == 3888
    assert again.ttft_seconds < first.ttft_seconds / 5
    cold = run(shared, "--no-enable-prefix-caching")
    assert abs(cold[1].ttft_seconds - cold[0].ttft_seconds) < 1e-6


def test_a_full_kv_cache_makes_requests_wait_and_then_preempts():
    requests = [TraceRequest(number / 100, 500, 500) for number in range(40)]
    roomy, tight = run(requests), run(requests, "--num-gpu-blocks-override", "1000")
    assert sum(result.preemptions for result in roomy) == 0
    assert max(result.queue_seconds for result in roomy) < 0.5
    # 16,000 tokens have room for 16 to 32 such requests.
    assert sum(result.queue_seconds > 1 for result in tight) >= 8
    preempted = [result for result in tight if result.preemptions]
    assert preempted
    # Who loses its blocks waits for its next token; the first ones never do.
    assert all(max(gaps(result)) > 2 * median(gaps(result)) for result in preempted)
    assert not any(result.preemptions for result in tight[:8])
    assert all(len(result.token_times) == 500 for result in tight)


def test_a_bigger_gpu_is_faster():
    requests = [TraceRequest(0.0, 1000, 100)] * 32
    rates = [throughput(run(requests, device=device)) for device in ("l4", "a10g", "a100", "h100", "b200")]
    assert rates == sorted(rates)
    assert rates[-1] > 5 * rates[0]


def test_two_gpus_are_faster_than_one_but_not_twice_as_fast():
    requests = [TraceRequest(0.0, 1000, 100)] * 32
    one, two = run(requests, device="a100"), run(requests, "--tensor-parallel-size", "2", device="a100")
    assert 1.2 < throughput(two) / throughput(one) < 2
    assert 1.1 < mean(gaps(one[0])) / mean(gaps(two[0])) < 2


def test_a_pipeline_raises_the_throughput_but_does_not_shorten_a_request():
    requests = [TraceRequest(0.0, 1000, 100)] * 64
    flags = ("--max-num-seqs", "32")
    one, piped = run(requests, *flags), run(requests, "--max-num-seqs", "64", "--pipeline-parallel-size", "2")
    assert throughput(piped) > 1.1 * throughput(one)
    alone = run(requests[:1])[0].tpot_seconds, run(requests[:1], "--pipeline-parallel-size", "2")[0].tpot_seconds
    assert alone[1] > 0.9 * alone[0]


def test_overload_grows_the_queue_and_not_the_steps():
    calm = run([TraceRequest(number / 5, 1000, 200) for number in range(100)], device="a100")
    flood = run([TraceRequest(number / 50, 1000, 200) for number in range(300)], device="a100")
    assert mean(result.queue_seconds for result in calm) < 1
    late = [result.queue_seconds for result in flood[100:]]
    assert mean(late[-50:]) > mean(late[:50]) + 3
