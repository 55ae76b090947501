"""--metrics-mode live: the page agrees with what the clients of the same server saw."""

import contextlib
import statistics
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from raw_http import Connection, collect_streams
from server import INSTANT, TINY, Server, ServerPool
from waiting_support import eventually

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
LIVE = (*TINY, "--metrics-mode", "live")
# Where a scrape may see a request that has been answered but not yet been taken off the books.
SETTLE_SECONDS = 5.0


class Page:
    """One scrape. Values are sums over the series that have the given labels."""

    def __init__(self, server: Server) -> None:
        reply = server.get("/metrics")
        assert reply.header("content-type") == "text/plain; version=1.0.0; charset=utf-8"
        self.families = list(text_string_to_metric_families(reply.body.decode()))
        self.samples = [sample for family in self.families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        found = [s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items()]
        assert found, name
        return sum(found)


class Growth:
    """How much a server's counters grow."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._before = Page(server)

    def of(self, name: str, **labels: str) -> float:
        return Page(self._server).value(name, **labels) - self._before.value(name, **labels)


def question(**parameters: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hi"}], **parameters}


@pytest.fixture
def instant(servers: ServerPool) -> Server:
    return servers.get(*LIVE, *INSTANT, "--enable-prompt-tokens-details", "--max-num-queued-reqs", "8")


@pytest.fixture
def paced(servers: ServerPool) -> Server:
    latency = ("--time-to-first-token", "60ms", "--inter-token-latency", "8ms")
    return servers.get(*LIVE, *latency, "--max-num-seqs", "8")


# ---- The page -----------------------------------------------------------------------------------------------


def test_the_page_is_well_formed(instant: Server) -> None:
    page = Page(instant)
    names = [family.name for family in page.families]
    assert len(names) == len(set(names))
    series = [(sample.name, *sorted(sample.labels.items())) for sample in page.samples]
    assert len(series) == len(set(series))
    assert page.value("vllm:num_requests_running", model_name="tiny", engine="0") == 0
    assert all(family.documentation for family in page.families if not family.name.endswith("_created"))


def test_series_exist_before_the_first_request(launch: Callable[..., Server]) -> None:
    page = Page(launch(*LIVE))
    for reason in ("stop", "length", "abort", "error", "repetition"):
        assert page.value("vllm:request_success_total", finished_reason=reason, model_name="tiny", engine="0") == 0
    assert page.value("vllm:time_to_first_token_seconds_count") == 0
    assert page.value("vllm:admission_rejections_total", reason="max_num_queued_reqs") == 0


def test_aliases_count_for_the_first_name(instant: Server) -> None:
    growth = Growth(instant)
    assert instant.post(CHAT, question(model="alias2", max_tokens=3)).status == 200
    assert growth.of("vllm:generation_tokens_total", model_name="tiny") == 3
    assert all(sample.labels.get("model_name") in (None, "tiny") for sample in Page(instant).samples)


# ---- Counters against usage ---------------------------------------------------------------------------------

TRAFFIC: tuple[tuple[str, dict[str, Any], int], ...] = (
    # (route, request, number of sequences)
    (CHAT, question(max_tokens=7, ignore_eos=True), 1),
    (CHAT, question(max_tokens=5, n=3, ignore_eos=True), 3),
    (CHAT, question(), 1),
    (CHAT, question(stop=["e"], max_tokens=100), 1),
    (COMPLETIONS, {"prompt": ["one", "two"], "max_tokens": 4, "n": 2, "ignore_eos": True}, 4),
    (COMPLETIONS, {"prompt": [71, 72, 73], "max_tokens": 1}, 1),
)


@pytest.mark.parametrize("stream", [False, True])
def test_counters_agree_with_usage(instant: Server, stream: bool) -> None:
    growth = Growth(instant)
    prompt_tokens = completion_tokens = 0
    reasons: list[str] = []
    for path, body, _ in TRAFFIC:
        if stream:
            options = {"stream": True, "stream_options": {"include_usage": True}}
            chunks = instant.post(path, {**body, **options}).chunks()
            usage = chunks[-1]["usage"]
            finished = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
        else:
            answer = instant.post(path, body).json()
            usage = answer["usage"]
            finished = [choice["finish_reason"] for choice in answer["choices"]]
        reasons += [reason for reason in finished if reason]
        # Each sequence reads the prompt, usage counts it once.
        prompt_tokens += usage["prompt_tokens"] * body.get("n", 1)
        completion_tokens += usage["completion_tokens"]
    sequences = sum(count for _, _, count in TRAFFIC)
    assert len(reasons) == sequences
    eventually(lambda: growth.of("vllm:e2e_request_latency_seconds_count") == sequences, SETTLE_SECONDS)
    assert growth.of("vllm:generation_tokens_total") == completion_tokens
    assert growth.of("vllm:prompt_tokens_total") == prompt_tokens
    for reason in ("stop", "length"):
        assert growth.of("vllm:request_success_total", finished_reason=reason) == reasons.count(reason)
    assert growth.of("vllm:request_generation_tokens_sum") == completion_tokens
    assert growth.of("vllm:request_prompt_tokens_sum") == prompt_tokens
    for once_per_sequence in ("time_to_first_token_seconds", "request_queue_time_seconds", "request_prompt_tokens"):
        assert growth.of(f"vllm:{once_per_sequence}_count") == sequences
    assert growth.of("vllm:inter_token_latency_seconds_count") == completion_tokens - sequences
    # Once per prompt, whatever its n.
    assert growth.of("vllm:request_params_n_count") == 7
    assert growth.of("vllm:request_params_n_sum") == sequences


def test_cached_tokens_agree_with_usage(instant: Server) -> None:
    prompt = "The same long prompt, again and again. " * 4
    body = {"prompt": prompt, "max_tokens": 1, "cache_salt": "of this test alone"}
    assert instant.post(COMPLETIONS, body).json()["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    growth = Growth(instant)
    usage = instant.post(COMPLETIONS, body).json()["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    # Whole blocks of 16, and never the last token.
    assert cached == (len(prompt) - 1) // 16 * 16
    assert growth.of("vllm:prefix_cache_queries_total") == usage["prompt_tokens"]
    assert growth.of("vllm:prefix_cache_hits_total") == cached
    assert growth.of("vllm:prompt_tokens_by_source_total", source="local_cache_hit") == cached
    assert growth.of("vllm:prompt_tokens_by_source_total", source="local_compute") == usage["prompt_tokens"] - cached
    assert growth.of("vllm:prompt_tokens_cached_total") == cached


def test_refused_requests_count_as_rejections_only(instant: Server) -> None:
    growth = Growth(instant)
    assert instant.post(CHAT, question(n=9)).status == 503
    assert instant.post(CHAT, question(n=0)).status == 400
    assert growth.of("vllm:admission_rejections_total", reason="max_num_queued_reqs") == 1
    assert growth.of("vllm:request_success_total") == 0
    assert growth.of("vllm:prompt_tokens_total") == 0


def test_http_requests_are_counted_by_route(instant: Server) -> None:
    chat = {"handler": CHAT, "method": "POST"}
    for body in (question(max_tokens=1), question(max_tokens=0)):
        instant.post(CHAT, body)
    instant.get("/nope")
    growth = Growth(instant)
    instant.post(CHAT, question(max_tokens=1))
    instant.post(CHAT, question(max_tokens=0))
    instant.get("/nope")
    instant.get("/health")
    assert growth.of("http_requests_total", status="2xx", **chat) == 1
    assert growth.of("http_requests_total", status="4xx", **chat) == 1
    assert growth.of("http_requests_total", handler="none", status="4xx") == 1
    assert growth.of("http_request_duration_seconds_count", **chat) == 2
    assert not [s for s in Page(instant).samples if s.labels.get("handler") in ("/health", "/metrics")]


# ---- Gauges -------------------------------------------------------------------------------------------------


def test_gauges_under_load(servers: ServerPool) -> None:
    server = servers.get(*LIVE, "--max-num-seqs", "2", "--time-to-first-token", "30s", "--num-gpu-blocks", "64")
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            connection = stack.enter_context(Connection(server.port))
            connection.send("POST", CHAT, question(stream=True, max_tokens=60))
        eventually(lambda: Page(server).value("vllm:num_requests_waiting") == 3, SETTLE_SECONDS)
        page = Page(server)
        assert page.value("vllm:num_requests_running") == 2
        assert page.value("vllm:num_requests_waiting_by_reason", reason="capacity") == 3
        assert page.value("vllm:num_requests_waiting_by_reason", reason="deferred") == 0
        # 64 tokens each reserve 4 blocks of 64.
        assert page.value("vllm:kv_cache_usage_perc") == pytest.approx(8 / 64, rel=0.2)
        report = server.post("/tokenize", {"prompt": "x"}, {"endpoint-load-metrics-format": "text"})
        assert report.header("endpoint-load-metrics") is None
    eventually(lambda: Page(server).value("vllm:num_requests_waiting") == 0, SETTLE_SECONDS)
    eventually(lambda: Page(server).value("vllm:num_requests_running") == 0, SETTLE_SECONDS)
    assert Page(server).value("vllm:kv_cache_usage_perc") == 0


def test_whoever_leaves_is_no_success(paced: Server) -> None:
    growth = Growth(paced)
    with Connection(paced.port) as connection:
        connection.send("POST", CHAT, question(stream=True, max_tokens=200, ignore_eos=True))
        connection.read_until(b'"content":"')
    eventually(lambda: Page(paced).value("vllm:num_requests_running") == 0, SETTLE_SECONDS)
    assert growth.of("vllm:request_success_total") == 0
    assert growth.of("vllm:time_to_first_token_seconds_count") == 1


# ---- Latencies ----------------------------------------------------------------------------------------------


def test_latencies_are_those_that_clients_measure(paced: Server) -> None:
    """The server cannot know the way to the client: it may be quicker by what the way takes, never slower."""
    growth = Growth(paced)
    streams = collect_streams(paced.port, CHAT, [question(stream=True, max_tokens=25, ignore_eos=True)] * 6, 0.005)
    eventually(lambda: growth.of("vllm:e2e_request_latency_seconds_count") == 6, SETTLE_SECONDS)

    def mean(family: str) -> float:
        return growth.of(f"{family}_sum") / growth.of(f"{family}_count")

    firsts = statistics.mean(stream.token_times()[0] - stream.sent for stream in streams)
    totals = statistics.mean(stream.token_times()[-1] - stream.sent for stream in streams)
    way = 0.150
    assert 0.060 <= mean("vllm:time_to_first_token_seconds") <= firsts <= 0.060 + way
    assert 0.060 + 24 * 0.008 <= mean("vllm:e2e_request_latency_seconds") <= totals + 0.005
    assert totals <= 0.060 + 24 * 0.008 + way
    assert mean("vllm:inter_token_latency_seconds") == pytest.approx(0.008, rel=0.05)
    assert mean("vllm:request_time_per_output_token_seconds") == pytest.approx(0.008, rel=0.05)
    assert mean("vllm:request_queue_time_seconds") < way
    parts = mean("vllm:request_prefill_time_seconds") + mean("vllm:request_decode_time_seconds")
    assert mean("vllm:request_inference_time_seconds") == pytest.approx(parts)


def test_waiting_shows_as_queue_time(servers: ServerPool) -> None:
    server = servers.get(*LIVE, "--max-num-seqs", "1", "--time-to-first-token", "80ms", "--inter-token-latency", "0")
    growth = Growth(server)
    collect_streams(server.port, CHAT, [question(stream=True, max_tokens=2)] * 4)
    eventually(lambda: growth.of("vllm:request_queue_time_seconds_count") == 4, SETTLE_SECONDS)
    # 0 + 80 + 160 + 240 ms.
    assert growth.of("vllm:request_queue_time_seconds_sum") == pytest.approx(0.480, rel=0.25)
    assert growth.of("vllm:time_to_first_token_seconds_sum") == pytest.approx(0.800, rel=0.25)
