"""Tokens per second over the last ten seconds, and the pages of the other engines, in virtual time."""

import math
import random

import pytest
from engine_support import VirtualClock, make_settings, request

from vllm_mock.engine import FixedEngine
from vllm_mock.metrics import Metrics
from vllm_mock.metrics.throughput import Throughput


class Server:
    """An engine with its metrics."""

    def __init__(self, **values):
        settings = make_settings(**values)
        self.clock = VirtualClock()
        self.metrics = Metrics(settings)
        self.engine = FixedEngine(settings, self.metrics, self.clock)
        self.metrics.attach(self.engine)

    def value(self, start):
        (line,) = [line for line in self.metrics.render().decode().splitlines() if line.startswith(start)]
        return float(line.rsplit(" ", 1)[1])


def test_the_average_is_that_of_the_last_ten_seconds():
    # One token each 0.25 s after the first at 1 s: four per second for a long time.
    server = Server()
    name = "vllm:avg_generation_throughput_toks_per_s{"
    server.engine.submit(request(output=200, prompt=range(30)))
    server.clock.now += 1.0
    assert server.value("vllm:avg_prompt_throughput_toks_per_s{") == pytest.approx(30.0)
    server.clock.now += 20.0
    assert server.value(name) == pytest.approx(4.0, rel=0.05)
    assert server.value("vllm:avg_prompt_throughput_toks_per_s{") == 0.0
    server.clock.now += 29.0 + 5.0
    assert server.value(name) == pytest.approx(2.35, rel=0.1)
    server.clock.now += 10.0
    assert server.value(name) == 0.0


def test_a_request_between_two_scrapes_counts_where_its_tokens_were_due():
    server = Server(inter_token_latency=0.0)
    server.engine.submit(request(output=100))
    server.clock.now += 30.0
    assert server.value("vllm:avg_generation_throughput_toks_per_s{") == 0.0
    assert server.value("vllm:generation_tokens_total{") == 100.0


@pytest.mark.parametrize("seed", range(20))
def test_even_series_are_counted_as_their_single_tokens(seed):
    draw = random.Random(seed)
    for _ in range(50):
        first, interval = draw.uniform(0, 50), draw.choice([0, 1e-4, 0.003, 0.02, 0.7, 3.1])
        tokens = draw.randint(1, 3000)
        throughput = Throughput()
        throughput.add_evenly(tokens, first, interval)
        now = first + (tokens - 1) * interval + draw.uniform(0, 3)
        oldest = math.floor(now * 2) / 2 - 10
        due = [sum(first + number * interval >= oldest + late for number in range(tokens)) for late in (0, 0.5)]
        counted = throughput.per_second(now) * max(1, min(10, now))
        assert min(due) - 1.5 <= counted <= max(due) + 1.5


def test_sglang_shows_the_same_traffic_under_its_names():
    server = Server(llm_engine="sglang", num_gpu_blocks=100, block_size=16)
    server.engine.submit(request(output=5, prompt=range(20)))
    server.clock.now += 0.5
    assert server.value("sglang:num_running_reqs{") == 1
    assert server.value("sglang:num_used_tokens{") == 2 * 16
    assert server.value("sglang:max_total_num_tokens{") == 1600
    server.clock.now += 3.0
    labels = 'engine_type="unified",model_name="tiny",moe_ep_rank="0",pp_rank="0",'
    assert server.value(f'sglang:num_requests_total{{{labels}tp_rank="0"}}') == 1
    assert server.value("sglang:generation_tokens_total{") == 5
    assert server.value("sglang:prompt_tokens_total{") == 20
    assert server.value("sglang:e2e_request_latency_seconds_sum{") == pytest.approx(2.0)
    bucket = f'sglang:per_stage_req_latency_seconds_bucket{{engine_type="unified",le="+Inf",{labels[22:]}'
    assert server.value(f'{bucket}stage="prefill_forward"') == 1
    assert server.value(f'{bucket}stage="decode_forward"') == 1
    assert "vllm:" not in server.metrics.render().decode()


def test_trtllm_shows_the_same_traffic_under_its_names():
    server = Server(llm_engine="trtllm")
    server.engine.submit(request(output=5, prompt=range(20), finish_reason="stop"))
    server.clock.now += 3.0
    labels = 'engine_type="trtllm",finished_reason="stop",model_name="tiny"'
    assert server.value(f"trtllm_request_success_total{{{labels}}}") == 1
    assert server.value("trtllm_time_per_output_token_seconds_sum{") == pytest.approx(0.25)
    assert server.value("trtllm_time_to_first_token_seconds_sum{") == pytest.approx(1.0)
    assert server.value("trtllm_kv_cache_utilization{") == 0.0


def test_legacy_names_can_be_left_out():
    names = ("num_requests_swapped", "gpu_cache_usage_perc", "time_per_output_token_seconds", "avg_prompt_throughput")
    page = Server(legacy_metrics=False).metrics.render().decode()
    assert not [name for name in names if f"vllm:{name}" in page]
    page = Server().metrics.render().decode()
    assert all(f"# TYPE vllm:{name}" in page for name in names)
