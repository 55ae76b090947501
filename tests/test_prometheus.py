"""A real Prometheus scrapes the server: it accepts the page, and its queries give the known answers."""

import json
import subprocess
from collections.abc import Iterator

import pytest
from prometheus_support import Prometheus
from server import CHAR_TOKENIZER, Server, ServerPool

# 20 requests of 10 prompt tokens and 6 output tokens each: 50 ms to the first token, 20 ms between tokens.
REQUESTS = 20
FLAGS = (
    *("--tokenizer", CHAR_TOKENIZER, "--served-model-name", "tiny", "--metrics-mode", "live"),
    *("--time-to-first-token", "50", "--inter-token-latency", "20", "--prefill-time-per-token", "0"),
)


def post(server: Server, path: str, document: dict) -> int:
    return server.request("POST", path, json.dumps(document).encode(), {"Content-Type": "application/json"}).status


@pytest.fixture(scope="module")
def pods(servers: ServerPool) -> list[Server]:
    """Two servers, of which one has done the workload."""
    first = servers.get(*FLAGS)
    second = servers.get(*FLAGS, environ={"POD_NAME": "second"})
    body = {"model": "tiny", "max_tokens": 6, "ignore_eos": True}
    for number in range(REQUESTS):
        assert post(first, "/v1/completions", {**body, "prompt": f"prompt {number:03}"}) == 200
    return [first, second]


@pytest.fixture(scope="module")
def prometheus(pods: list[Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    running = Prometheus(tmp_path_factory.mktemp("prometheus"), pods)
    yield running
    running.stop()


@pytest.mark.parametrize("engine", ["vllm", "sglang", "trtllm"])
def test_promtool_reads_the_page(engine: str, pods: list[Server], servers: ServerPool) -> None:
    server = pods[0] if engine == "vllm" else servers.get(*FLAGS, "--llm-engine", engine)
    check = subprocess.run(["promtool", "check", "metrics"], input=server.get("/metrics").body, capture_output=True)
    # 3: opinions on the names; 1: the page is not Prometheus' format.
    assert check.returncode in (0, 3), check.stderr.decode()


def test_counts_are_those_of_the_workload(prometheus: Prometheus) -> None:
    prometheus.expect("sum(vllm:request_success_total)", REQUESTS)
    prometheus.expect("sum(vllm:prompt_tokens_total)", 10 * REQUESTS)
    prometheus.expect("sum(vllm:generation_tokens_total)", 6 * REQUESTS)
    prometheus.expect("sum(vllm:inter_token_latency_seconds_count)", 5 * REQUESTS)


def test_quantiles_are_those_of_the_latencies(prometheus: Prometheus) -> None:
    # 50 ms lie in the bucket from 40 to 60 ms, 20 ms in that from 10 to 25 ms: the middle of each is interpolated.
    quantile = "histogram_quantile(0.5, sum by (le) (vllm:{}_seconds_bucket))"
    prometheus.expect(quantile.format("time_to_first_token"), 0.05, within=1e-6)
    prometheus.expect(quantile.format("inter_token_latency"), 0.0175, within=1e-6)
    mean = "sum(vllm:{0}_seconds_sum) / sum(vllm:{0}_seconds_count)"
    prometheus.expect(mean.format("e2e_request_latency"), 0.15, within=0.03)


def test_a_rate_is_that_of_the_counter(prometheus: Prometheus, pods: list[Server]) -> None:
    assert post(pods[1], "/set_metrics", {"generation_tokens_total": "ramp:0:60000:10m"}) == 200
    prometheus.expect(f'rate(vllm:generation_tokens_total{{instance="127.0.0.1:{pods[1].port}"}}[4s])', 100.0, within=5)


def test_the_autoscalers_average_over_pods(prometheus: Prometheus, pods: list[Server]) -> None:
    assert post(pods[0], "/set_metrics", {"avg_prompt_throughput": 10, "kv_cache_usage_perc": 0.2}) == 200
    assert post(pods[1], "/set_metrics", {"avg_prompt_throughput": 30, "kv_cache_usage_perc": 0.6}) == 200
    prometheus.expect("avg(vllm:avg_prompt_throughput_toks_per_s)", 20.0)
    prometheus.expect("sum(vllm:avg_prompt_throughput_toks_per_s)", 40.0)
    prometheus.expect("max(vllm:kv_cache_usage_perc)", 0.6)
    prometheus.expect("count(up == 1)", 2.0)
