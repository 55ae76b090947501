"""What /metrics shows: vLLM's families, and values that follow the traffic."""

import re
from pathlib import Path

import pytest
from engine_support import VirtualClock, make_settings, request
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.parser import text_string_to_metric_families

from vllm_mock.engine import FixedEngine, QueueFull
from vllm_mock.metrics import Metrics

CONTRACT = Path(__file__).parent / "contract" / "metrics_series.txt"
LABELS = 'engine="0",model_name="tiny"'


class Server:
    """An engine with its metrics, in virtual time."""

    def __init__(self, **values):
        settings = make_settings(**values)
        self.clock = VirtualClock()
        self.metrics = Metrics(settings)
        self.engine = FixedEngine(settings, self.metrics, self.clock)
        self.metrics.attach(self.engine)

    def scrape(self):
        """Value by series, as printed."""
        lines = self.metrics.render().decode().splitlines()
        return {series: float(value) for series, value in (li.rsplit(" ", 1) for li in lines if not li.startswith("#"))}

    def value(self, name, **labels):
        """The value of a vllm: series with further labels."""
        everything = {"engine": "0", "model_name": "tiny"} | labels
        text = ",".join(f'{label}="{everything[label]}"' for label in sorted(everything))
        return self.scrape()[f"vllm:{name}{{{text}}}"]

    def summary(self, name):
        """Count and sum of a histogram."""
        return self.value(name + "_count"), self.value(name + "_sum")

    def buckets(self, name):
        """The counts that lie in each bucket itself, by upper bound, without empty ones."""
        pattern = re.compile(rf'vllm:{name}_bucket{{engine="0",le="(.*)",model_name="tiny"}}')
        found, before = {}, 0
        for series, count in self.scrape().items():
            if match := pattern.fullmatch(series):
                if count > before:
                    found[float(match[1])] = count - before
                before = count
        return found


def series_of(page):
    """Type lines, and series without their values."""
    lines = [line for line in page.splitlines() if not line.startswith("# HELP")]
    return [line if line.startswith("#") else line.rsplit(" ", 1)[0] for line in lines]


def test_names_types_labels_buckets_and_order_are_vllms():
    contract = CONTRACT.read_text().splitlines()
    names = {line.split()[2] for line in contract if line.startswith("# TYPE")}
    page = series_of(Server(num_gpu_blocks=1024).metrics.render().decode())
    shown, kept = [], False
    for line in page:
        if line.startswith("# TYPE"):
            kept = line.split()[2] in names
        if kept:
            shown.append(line)
    # One label of the capture differs between two starts of the same server.
    normal = [re.sub('mamba_ssm_cache_dtype="[a-z0-9]+"', 'mamba_ssm_cache_dtype=""', line) for line in shown]
    assert normal == [re.sub('mamba_ssm_cache_dtype="[a-z0-9]+"', 'mamba_ssm_cache_dtype=""', li) for li in contract]


def test_the_page_is_what_the_content_type_says():
    assert CONTENT_TYPE_LATEST == "text/plain; version=1.0.0; charset=utf-8"
    page = Server().metrics.render().decode()
    families = list(text_string_to_metric_families(page))
    assert {"process_cpu_seconds", "python_info", "vllm:request_success"} <= {family.name for family in families}
    assert all(family.documentation for family in families)


def test_everything_starts_at_zero():
    scrape = Server().scrape()
    vllm = {
        series: value for series, value in scrape.items() if series.startswith("vllm:") and "_created" not in series
    }
    ones = [series for series, value in vllm.items() if value]
    assert ones[0] == f'vllm:engine_sleep_state{{{LABELS},sleep_state="awake"}}'
    assert ones[1].startswith("vllm:cache_config_info{")
    assert len(ones) == 2


def test_created_series_can_be_switched_off(monkeypatch):
    server = Server()
    created = server.value("prompt_tokens_created")
    assert created > 1.7e9
    monkeypatch.setenv("PROMETHEUS_DISABLE_CREATED_SERIES", "True")
    assert not [series for series in server.scrape() if "_created" in series]


def test_the_configuration_of_the_cache_is_told():
    page = Metrics(make_settings(block_size=32, num_gpu_blocks=500, given=frozenset({"num_gpu_blocks"}))).render()
    line = next(line for line in page.decode().splitlines() if line.startswith("vllm:cache_config_info{"))
    assert 'num_gpu_blocks="500",num_gpu_blocks_override="500"' in line
    assert 'block_size="32"' in line
    assert 'user_specified_block_size="False"' in line


def test_rank_and_first_served_name_label_everything():
    page = Metrics(make_settings(served_model_name=["first", "alias"]), rank=3).render().decode()
    assert 'vllm:num_requests_running{engine="3",model_name="first"} 0.0' in page
    assert "alias" not in page


def test_buckets_can_be_customised_by_group():
    server = Server(custom_histogram_buckets={"request_latency": [1.0, 2.0]})
    server.engine.submit(request())
    server.clock.now += 5
    assert server.buckets("e2e_request_latency_seconds") == {2.0: 1.0}


def test_without_log_stats_the_engine_is_not_shown():
    page = Server(disable_log_stats=True).metrics.render().decode()
    assert "vllm:" not in page
    assert "http_requests_total" in page
    assert "vllm_mock:stream_lag_seconds" in page


def test_gauges_show_the_engine():
    server = Server(max_num_seqs=2, num_gpu_blocks=100, block_size=4)
    handles = [server.engine.submit(request(prompt=range(8), output=4)) for _ in range(5)]
    assert server.value("num_requests_running") == 2
    assert server.value("num_requests_waiting") == 3
    assert server.value("num_requests_waiting_by_reason", reason="capacity") == 3
    assert server.value("num_requests_waiting_by_reason", reason="deferred") == 0
    assert server.value("kv_cache_usage_perc") == pytest.approx(0.05)
    for handle in handles:
        handle.abort()
    assert server.value("num_requests_running") == server.value("num_requests_waiting") == 0
    assert server.value("kv_cache_usage_perc") == 0


def test_tokens_rise_while_a_stream_runs():
    server = Server()
    handle = server.engine.submit(request(output=9, prompt=range(5)))
    server.clock.now += 0.5
    assert server.value("generation_tokens_total") == server.value("prompt_tokens_total") == 0
    server.clock.now += 0.5
    assert server.value("generation_tokens_total") == 1
    assert server.value("prompt_tokens_total") == 5
    assert server.summary("time_to_first_token_seconds") == (1, 1.0)
    server.clock.now += 0.75
    for _ in range(3):
        assert server.value("generation_tokens_total") == 4
        assert server.summary("inter_token_latency_seconds") == (3, 0.75)
    assert server.value("request_success_total", finished_reason="length") == 0
    server.clock.now += 10
    handle.finish()
    assert server.value("generation_tokens_total") == 9
    assert server.summary("inter_token_latency_seconds") == (8, 2.0)
    assert server.buckets("inter_token_latency_seconds") == {0.3: 8.0}
    assert server.value("request_success_total", finished_reason="length") == 1


def test_a_finished_request_counts_in_every_histogram():
    server = Server(max_num_seqs=1)
    server.engine.submit(request(output=5, arrival=1023.5))
    server.engine.submit(request(output=1, arrival=1023.5, finish_reason="stop"))
    server.clock.now += 20
    assert server.summary("request_queue_time_seconds") == (2, 0 + 2.0)
    assert server.summary("request_prefill_time_seconds") == (2, 1.0 + 1.0)
    assert server.summary("request_decode_time_seconds") == (2, 1.0)
    assert server.summary("request_inference_time_seconds") == (2, 2.0 + 1.0)
    assert server.summary("e2e_request_latency_seconds") == (2, 2.5 + 3.5)
    assert server.summary("time_to_first_token_seconds") == (2, 1.5 + 3.5)
    assert server.summary("request_time_per_output_token_seconds") == (2, 0.25 + 0)
    assert server.summary("request_prompt_tokens") == (2, 6)
    assert server.summary("request_generation_tokens") == (2, 6)
    assert server.summary("request_params_max_tokens") == (2, 6)
    assert server.summary("request_max_num_generation_tokens") == (2, 6)
    assert server.summary("request_params_n") == (2, 2)
    assert server.summary("request_prefill_kv_computed_tokens") == (2, 6)
    assert server.summary("request_num_preemptions") == (2, 0)
    assert server.value("request_success_total", finished_reason="stop") == 1
    assert server.value("request_success_total", finished_reason="length") == 1


def test_irregular_gaps_are_observed_one_by_one():
    server = Server(inter_token_latency_std_dev=0.125)
    handle = server.engine.submit(request(output=40))
    server.clock.now = handle.first_token_due + 4
    server.scrape()
    server.clock.now += 100
    count, total = server.summary("inter_token_latency_seconds")
    assert count == 39
    assert total == pytest.approx(handle.last_token_due - handle.first_token_due)
    assert len(server.buckets("inter_token_latency_seconds")) > 2


def test_cached_prompt_tokens_are_told_apart():
    server = Server()
    for _ in range(2):
        server.engine.submit(request(prompt=range(40)))
    assert server.value("prefix_cache_queries_total") == 80
    assert server.value("prefix_cache_hits_total") == 32
    server.clock.now += 10
    assert server.value("prompt_tokens_total") == 80
    assert server.value("prompt_tokens_by_source_total", source="local_compute") == 48
    assert server.value("prompt_tokens_by_source_total", source="local_cache_hit") == 32
    assert server.value("prompt_tokens_cached_total") == 32
    assert server.value("prompt_tokens_cached_by_source_total", source="device") == 32
    assert server.summary("request_prefill_kv_computed_tokens") == (2, 48)
    assert server.summary("request_prompt_tokens") == (2, 80)


def test_without_a_prefix_cache_nothing_is_queried():
    server = Server(enable_prefix_caching=False)
    server.engine.submit(request(prompt=range(40)))
    assert server.value("prefix_cache_queries_total") == 0


def test_steps_have_all_computed_tokens():
    server = Server()
    for _ in range(2):
        server.engine.submit(request(prompt=range(40), output=5))
    server.clock.now += 1.5
    assert server.summary("iteration_tokens_total") == (2 + 2, (40 + 1) + (8 + 1) + 2 * 2)
    server.clock.now += 10
    count, total = server.summary("iteration_tokens_total")
    assert total == (40 + 5) + (8 + 5)
    assert count == sum(server.buckets("iteration_tokens_total").values())


def test_a_gone_client_counts_only_in_tokens():
    server = Server(max_num_seqs=1)
    running, queued = server.engine.submit(request(output=9)), server.engine.submit(request(output=9))
    server.clock.now += 1.25
    queued.abort()
    running.abort()
    server.clock.now += 10
    assert server.value("generation_tokens_total") == 2
    assert server.value("prompt_tokens_total") == 3
    assert server.summary("time_to_first_token_seconds") == (1, 1.0)
    assert server.summary("e2e_request_latency_seconds") == (0, 0)
    assert server.summary("request_params_n") == (0, 0)
    reasons = ("stop", "length", "abort", "error", "repetition")
    assert sum(server.value("request_success_total", finished_reason=reason) for reason in reasons) == 0


def test_a_failed_request_is_a_finished_one_with_reason_error():
    server = Server()
    server.engine.submit(request(finish_reason="error"))
    server.clock.now += 10
    assert server.value("request_success_total", finished_reason="error") == 1
    assert server.summary("e2e_request_latency_seconds")[0] == 1


def test_n_counts_once_for_a_prompt_and_tokens_for_each_sequence():
    server = Server()
    lengths = (3, 7, 5)
    server.engine.submit_all([request(output, n=3, index=index) for index, output in enumerate(lengths)])
    server.clock.now += 1.0 + 4 * 0.25
    assert server.summary("request_params_n") == (0, 0)
    server.clock.now += 10
    assert server.summary("request_params_n") == (1, 3)
    assert server.summary("request_max_num_generation_tokens") == (1, 7)
    assert server.summary("request_generation_tokens") == (3, 15)
    assert server.value("prompt_tokens_total") == 9


def test_rejections_count_prompts():
    server = Server(max_num_queued_reqs=1)
    with pytest.raises(QueueFull):
        server.engine.submit_all([request(), request(), request()])
    rejected = server.scrape()
    assert rejected['vllm:admission_rejections_total{model_name="tiny",reason="max_num_queued_reqs"}'] == 2
    assert rejected['vllm:admission_rejections_total{model_name="tiny",reason="max_num_queued_tokens"}'] == 0


def test_a_client_and_the_page_agree():
    server = Server(prefill_time_per_token=0.03125, max_num_seqs=2, time_factor_under_load=2.0)
    handles = [server.engine.submit(request(output=1 + index)) for index in range(6)]
    gaps = []
    while server.engine.running:
        server.clock.now += 0.3
        server.scrape()
    for handle in handles:
        timing = handle.next_timing()
        gaps += [timing.interval] * (timing.count - 1)
    first = [handle.first_token_due - 1024.0 for handle in handles]
    assert server.summary("time_to_first_token_seconds") == (6, pytest.approx(sum(first)))
    assert server.summary("inter_token_latency_seconds") == (len(gaps), pytest.approx(sum(gaps)))
    last = [handle.last_token_due - 1024.0 for handle in handles]
    assert server.summary("e2e_request_latency_seconds") == (6, pytest.approx(sum(last)))


def test_lag_is_the_worst_of_ten_seconds(monkeypatch):
    server = Server()
    now = 500.0
    monkeypatch.setattr("vllm_mock.metrics.accumulators.time.monotonic", lambda: now)

    def lag():
        return server.scrape()[f"vllm_mock:stream_lag_seconds{{{LABELS}}}"]

    assert lag() == 0
    server.metrics.record_lag(0.25)
    now = 503.0
    server.metrics.record_lag(0.75)
    server.metrics.record_lag(0.5)
    assert lag() == 0.75
    now = 512.9
    assert lag() == 0.75
    server.metrics.record_lag(0.125)
    now = 513.0
    assert lag() == 0.125
    now = 600.0
    assert lag() == 0
