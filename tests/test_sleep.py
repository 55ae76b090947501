"""Sleep and waking up: what clients and metrics see of them."""

import os
import signal
from collections.abc import Iterator

import pytest
from control_support import LIVE, Stream, controlled, get, post
from server import INSTANT, TINY, Server, ServerPool
from waiting_support import eventually


@pytest.fixture
def server(servers: ServerPool) -> Iterator[Server]:
    with controlled(servers) as running:
        yield running


def test_sleep_shows_in_the_metrics_and_drops_the_cache(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, *LIVE, "--enable-prompt-tokens-details", environ={"POD_NAME": "sleeper"})

    def cached() -> int:
        fields = {"model": "tiny", "prompt": "x" * 40, "max_tokens": 1}
        return post(server, "/v1/completions", **fields).json()["usage"]["prompt_tokens_details"]["cached_tokens"]

    def states() -> list[float]:
        names = ("awake", "weights_offloaded", "discard_all")
        return [server.gauge("vllm:engine_sleep_state", sleep_state=name) for name in names]

    assert states() == [1.0, 0.0, 0.0]
    assert [cached(), cached()] == [0, 32]
    for level, expected in ((1, [0.0, 1.0, 0.0]), (2, [0.0, 0.0, 1.0])):
        assert post(server, f"/sleep?level={level}").json() == {"status": "sleeping", "level": level}
        assert get(server, "/is_sleeping").json() == {"is_sleeping": True}
        assert states() == expected
        assert get(server, "/health").status_code == 200
        # A tag of nothing that sleeps wakes nothing.
        assert post(server, "/wake_up?tags=kv_cache&tags=x").json() == {"status": "sleeping", "tags": ["kv_cache", "x"]}
        assert post(server, "/wake_up?tags=weights").json() == {"status": "sleeping", "tags": ["weights"]}
        assert get(server, "/is_sleeping").json() == {"is_sleeping": True}
        assert states() == expected
        assert post(server, "/wake_up?tags=kv_cache").json() == {"status": "awake", "tags": ["kv_cache"]}
        assert get(server, "/is_sleeping").json() == {"is_sleeping": False}
        assert states() == [1.0, 0.0, 0.0]
        assert [cached(), cached()] == [0, 32]
    operations = "vllm:sleep_mode_operation_duration_seconds_count"
    assert [server.gauge(operations, operation=name) for name in ("sleep", "wake")] == [2, 6]
    assert server.gauge("vllm:sleep_mode_operations_in_flight") == 0


def test_requests_to_a_sleeping_engine_wait(server: Server) -> None:
    assert post(server, "/sleep?level=0").json() == {"status": "sleeping", "level": 0}
    assert get(server, "/is_paused").json() == {"is_paused": True}
    assert server.gauge("vllm:engine_sleep_state") == 0
    stream = Stream(server, 3)
    eventually(lambda: server.gauge("vllm:num_requests_waiting") == 1)
    assert server.gauge("vllm:num_requests_running") == 0
    assert not stream.events
    assert post(server, "/wake_up?tags=scheduling").json() == {"status": "awake", "tags": ["scheduling"]}
    assert stream.chunks()[-1]["choices"][0]["finish_reason"] == "length"


def test_sleeping_ends_what_runs_or_lets_it_finish(server: Server) -> None:
    for mode, reason in (("abort", "abort"), ("wait", "length")):
        stream = Stream(server, 12)
        eventually(lambda stream=stream: len(stream.events) > 2)
        assert post(server, f"/sleep?mode={mode}").status_code == 200
        assert stream.chunks()[-1]["choices"][0]["finish_reason"] == reason
        assert post(server, "/wake_up").json() == {"status": "awake", "tags": None}


def test_the_memory_of_the_kv_cache_is_given_up_by_a_paused_engine(server: Server) -> None:
    refused = post(server, "/release_kv_cache_memory")
    message = "release_kv_cache_memory() requires a completed pause first"
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, message)
    post(server, "/pause")
    assert post(server, "/release_kv_cache_memory").json() == {"status": "kv_cache_released"}
    assert server.gauge("vllm:engine_sleep_state") == 0
    message = "release_kv_cache_memory() requires all executor memory to be resident"
    assert post(server, "/release_kv_cache_memory").json()["error"]["message"] == message
    assert post(server, "/wake_up?tags=kv_cache").json()["status"] == "awake"
    # Waking up ends the pause as well.
    assert post(server, "/v1/completions", model="tiny", prompt="a", max_tokens=1).status_code == 200


def test_all_workers_sleep_and_a_new_one_sleeps_on(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, *LIVE, "--data-parallel-size", "2", environ={"POD_NAME": "sleepers"})
    eventually(lambda: server.gauge("vllm:engine_sleep_state", sleep_state="awake") == 2)
    post(server, "/sleep?level=1")
    assert server.gauge("vllm:engine_sleep_state", sleep_state="weights_offloaded") == 2
    fields = {"model": "tiny", "prompt": "a", "max_tokens": 1}
    post(server, "/pause")
    assert {post(server, "/v1/completions", **fields).status_code for _ in range(8)} == {503}
    _kill_workers(server)
    eventually(lambda: server.gauge("vllm:engine_sleep_state", sleep_state="weights_offloaded") == 2)
    assert {post(server, "/v1/completions", **fields).status_code for _ in range(8)} == {503}
    assert post(server, "/wake_up").json()["status"] == "awake"
    assert {post(server, "/v1/completions", **fields).status_code for _ in range(8)} == {200}


def _kill_workers(server: Server) -> None:
    """All of them, at once; returns when others have taken their places."""
    old = set(server.workers())
    for worker in old:
        os.kill(worker, signal.SIGKILL)
    eventually(lambda: len(set(server.workers()) - old) == len(old))
