"""SIMULATION=a100: the server whose tokens come when a simulated GPU has computed them."""

import json
import threading
import time

import pytest
from server import GTHREAD, TINY

A100 = {"SIMULATION": "a100"}
FLAGS = (*TINY, "--model", "meta-llama/Llama-2-7b-hf")


def body(**fields):
    return {"model": "tiny", "prompt": "hello there", "max_tokens": 30, "ignore_eos": True, **fields}


@pytest.mark.parametrize("runner", ["app", GTHREAD])
def test_tokens_come_at_the_pace_of_the_gpu(servers, runner):
    server = servers.get(*FLAGS, environ=A100, runner=runner)
    server.post("/v1/completions", body(max_tokens=1))
    before = server.gauge("vllm:inter_token_latency_seconds_sum")
    started = time.monotonic()
    reply = server.post("/v1/completions", body())
    took = time.monotonic() - started
    assert reply.status == 200
    assert json.loads(reply.body)["usage"]["completion_tokens"] == 30
    simulated = server.gauge("vllm:inter_token_latency_seconds_sum") - before
    # 7 billion weights of two bytes take at least 6 ms of an A100's bandwidth.
    assert 29 * 0.006 < simulated < took


def test_the_frontend_counts_in_the_time_to_the_first_token_and_not_in_the_queue(servers):
    server = servers.get(*FLAGS, "--frontend-latency", "300ms", environ=A100)
    reply = server.post("/v1/completions", body(max_tokens=1))
    assert reply.status == 200
    assert server.gauge("vllm:time_to_first_token_seconds_sum") > 0.3
    assert server.gauge("vllm:e2e_request_latency_seconds_sum") > 0.3
    assert server.gauge("vllm:request_queue_time_seconds_sum") < 0.1


def test_scaled_time_is_told_in_simulated_seconds(servers):
    server = servers.get(*FLAGS, "--time-scale", "10", "--enable-per-request-metrics", environ=A100)
    before = server.gauge("vllm:inter_token_latency_seconds_sum")
    started = time.monotonic()
    told = json.loads(server.post("/v1/completions", body(max_tokens=200)).body)["metrics"]
    took = time.monotonic() - started
    simulated = server.gauge("vllm:inter_token_latency_seconds_sum") - before
    assert told["generation_time_ms"] == pytest.approx(1000 * simulated, rel=1e-6)
    assert told["mean_itl_ms"] == pytest.approx(1000 * simulated / 199, rel=1e-6)
    assert simulated > 199 * 0.006
    # It cannot be over earlier, and on a busy machine it is later.
    assert took > simulated / 10
    assert server.gauge("vllm:request_decode_time_seconds_sum") == pytest.approx(simulated, rel=1e-6)


def test_streams_share_the_steps(servers):
    server = servers.get(*FLAGS, environ=A100)
    steps = server.gauge("vllm:iteration_tokens_total_count")
    replies = []

    def ask():
        replies.append(server.post("/v1/completions", body(stream=True, n=2)))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for reply in replies:
        events = [line[6:] for line in reply.body.decode().splitlines() if line.startswith("data: ")]
        assert events[-1] == "[DONE]"
        choices = [json.loads(event)["choices"][0] for event in events[:-1]]
        assert [sum(bool(choice["text"]) for choice in choices if choice["index"] == index) for index in (0, 1)] == [
            30,
            30,
        ]
    assert server.gauge("vllm:iteration_tokens_total_count") - steps < 8 * 30


def test_the_start_line_and_the_page_tell_what_is_simulated(servers):
    server = servers.get(*FLAGS, environ=A100)
    line = next(line for line in server.logged().splitlines() if line.startswith("vllm-mock serving"))
    assert "engine simulated: a100 with meta-llama/Llama-2-7b-hf, step times " in line
    assert line.endswith("metrics live")
    assert server.gauge("vllm_mock:simulation_info") == 1
    page = server.get("/metrics").body.decode()
    assert 'device="a100"' in page
    assert 0 <= server.gauge("vllm_mock:simulator_lag_seconds") < 5
