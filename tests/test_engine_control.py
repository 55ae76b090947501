"""Sleep, pause, resets, aborts and loading: what clients and metrics see of them."""

import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from server import APP, INSTANT, TINY, Server, ServerPool, start

WAIT_SECONDS = 10.0
# 20 tokens per second, so that something runs while a test acts.
SLOW = (*TINY, "--time-to-first-token", "20", "--inter-token-latency", "50", "--prefill-time-per-token", "0")
LIVE = ("--metrics-mode", "live")
PAUSED = {
    "message": "Generation is paused. Please retry after it resumes.",
    "type": "ServiceUnavailableError",
    "param": None,
    "code": 503,
}


def post(server: Server, path: str, **document: object) -> requests.Response:
    return requests.post(server.base_url + path, json=document, timeout=30)


def get(server: Server, path: str) -> requests.Response:
    return requests.get(server.base_url + path, timeout=30)


def eventually(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not check() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert check()


def metric(server: Server, name: str, **labels: str) -> float:
    """The sum of the series of a family that have these labels."""
    total = 0.0
    for line in get(server, "/metrics").text.splitlines():
        if line.startswith(name + "{") and all(f'{label}="{value}"' in line for label, value in labels.items()):
            total += float(line.rsplit(" ", 1)[1])
    return total


class Stream:
    """A streamed completion of `tokens` tokens, read by a thread: the data of its events, and when each came."""

    def __init__(self, server: Server, tokens: int, **fields: object) -> None:
        body = {"model": "tiny", "prompt": "hello", "max_tokens": tokens, "ignore_eos": True, "stream": True, **fields}
        self.response = requests.post(server.base_url + "/v1/completions", json=body, stream=True, timeout=30)
        self.events: list[tuple[float, str]] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        for line in self.response.iter_lines():
            if line:
                self.events.append((time.monotonic(), line.decode().removeprefix("data: ")))

    def chunks(self) -> list[dict]:
        """All chunks, once the stream has ended."""
        self._thread.join(WAIT_SECONDS)
        assert self.events[-1][1] == "[DONE]"
        return [json.loads(event) for _, event in self.events[:-1]]


@pytest.fixture
def server(servers: ServerPool) -> Iterator[Server]:
    running = servers.get(*SLOW, *LIVE, environ={"POD_NAME": "control"})
    yield running
    requests.post(running.base_url + "/wake_up", timeout=30)
    requests.post(running.base_url + "/resume", timeout=30)


def test_pause_ends_what_runs_and_refuses_what_comes(server: Server) -> None:
    before = metric(server, "vllm:request_success_total", finished_reason="abort")
    stream = Stream(server, 100, stream_options={"include_usage": True})
    eventually(lambda: len(stream.events) > 3)
    assert post(server, "/pause").json() == {"status": "paused"}
    assert get(server, "/is_paused").json() == {"is_paused": True}
    *tokens, finish, usage = stream.chunks()
    assert (finish["choices"][0]["finish_reason"], finish["choices"][0]["text"]) == ("abort", "")
    assert usage["usage"]["completion_tokens"] == len(tokens)
    assert metric(server, "vllm:request_success_total", finished_reason="abort") == before + 1
    assert metric(server, "vllm:num_requests_running") == 0
    refused = post(server, "/v1/completions", model="tiny", prompt="a", max_tokens=1)
    assert (refused.status_code, refused.json()) == (503, {"error": PAUSED})
    streamed = post(server, "/v1/completions", model="tiny", prompt="a", max_tokens=1, stream=True)
    assert (streamed.status_code, streamed.json()) == (503, {"error": PAUSED})
    assert post(server, "/resume").json() == {"status": "resumed"}
    assert post(server, "/v1/completions", model="tiny", prompt="a", max_tokens=1).status_code == 200


def test_an_aborted_answer_keeps_what_it_has(server: Server) -> None:
    answers: list[requests.Response] = []
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 150, "ignore_eos": True}
    thread = threading.Thread(target=lambda: answers.append(post(server, "/v1/chat/completions", **body)))
    thread.start()
    eventually(lambda: metric(server, "vllm:num_requests_running") == 1)
    time.sleep(0.2)
    assert post(server, "/abort_requests").json() == {"status": "aborted", "aborted": 1}
    thread.join(WAIT_SECONDS)
    (answer,) = answers
    assert answer.status_code == 200
    choice, usage = answer.json()["choices"][0], answer.json()["usage"]
    assert choice["finish_reason"] == "abort"
    assert 1 <= usage["completion_tokens"] < 100
    assert len(choice["message"]["content"]) == usage["completion_tokens"]


def test_requests_are_aborted_by_their_ids(server: Server) -> None:
    first, second = Stream(server, 60, request_id="one"), Stream(server, 20, request_id="two")
    eventually(lambda: len(first.events) > 2 and len(second.events) > 2)
    assert post(server, "/abort_requests", request_ids=["cmpl-one", "nobody"]).json()["aborted"] == 2
    assert first.chunks()[-1]["choices"][0]["finish_reason"] == "abort"
    assert second.chunks()[-1]["choices"][0]["finish_reason"] == "length"


def test_pause_wait_lets_requests_finish(server: Server) -> None:
    stream = Stream(server, 15)
    eventually(lambda: len(stream.events) > 2)
    assert post(server, "/pause?mode=wait").status_code == 200
    # The answer to /pause came when all was done.
    chunks = stream.chunks()
    assert len(chunks) == 15
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert post(server, "/v1/completions", model="tiny", prompt="a", max_tokens=1).status_code == 503


def test_pause_keep_holds_requests_and_resume_goes_on(server: Server) -> None:
    stream = Stream(server, 20)
    eventually(lambda: len(stream.events) > 4)
    post(server, "/pause?mode=keep")
    # What was on its way when the engine stopped still arrives.
    time.sleep(0.1)
    held = len(stream.events)
    late = Stream(server, 3)
    time.sleep(0.5)
    assert len(stream.events) == held
    assert not late.events
    assert metric(server, "vllm:num_requests_running") == 1
    assert metric(server, "vllm:num_requests_waiting") == 1
    assert metric(server, "vllm:generation_tokens_total") >= held
    post(server, "/resume")
    chunks = stream.chunks()
    assert len(chunks) == 20
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert len(late.chunks()) == 3
    times = [at for at, _ in stream.events]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert max(gaps) > 0.5
    # The tokens that were left kept their distances: they did not come all at once.
    assert times[-1] - times[held] > 0.03 * (20 - held)


def test_a_whole_answer_is_held_as_well(server: Server) -> None:
    began = time.monotonic()
    answers: list[requests.Response] = []
    fields = {"model": "tiny", "prompt": "a", "max_tokens": 6, "ignore_eos": True}
    thread = threading.Thread(target=lambda: answers.append(post(server, "/v1/completions", **fields)))
    thread.start()
    eventually(lambda: metric(server, "vllm:num_requests_running") == 1)
    post(server, "/pause?mode=keep")
    time.sleep(0.8)
    assert not answers
    post(server, "/resume")
    thread.join(WAIT_SECONDS)
    assert answers[0].json()["usage"]["completion_tokens"] == 6
    assert time.monotonic() - began > 1.0


def test_sleep_shows_in_the_metrics_and_drops_the_cache(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, *LIVE, "--enable-prompt-tokens-details", environ={"POD_NAME": "sleeper"})

    def cached() -> int:
        fields = {"model": "tiny", "prompt": "x" * 40, "max_tokens": 1}
        return post(server, "/v1/completions", **fields).json()["usage"]["prompt_tokens_details"]["cached_tokens"]

    def states() -> list[float]:
        names = ("awake", "weights_offloaded", "discard_all")
        return [metric(server, "vllm:engine_sleep_state", sleep_state=name) for name in names]

    assert states() == [1.0, 0.0, 0.0]
    assert [cached(), cached()] == [0, 32]
    for level, expected in ((1, [0.0, 1.0, 0.0]), (2, [0.0, 0.0, 1.0])):
        assert post(server, f"/sleep?level={level}").json() == {"status": "sleeping", "level": level}
        assert get(server, "/is_sleeping").json() == {"is_sleeping": True}
        assert states() == expected
        assert post(server, "/v1/completions", model="tiny", prompt="a").status_code == 503
        assert get(server, "/health").status_code == 200
        assert post(server, "/wake_up?tags=weights").json() == {"status": "awake", "tags": ["weights"]}
        assert get(server, "/is_sleeping").json() == {"is_sleeping": True}
        assert post(server, "/wake_up?tags=kv_cache").json() == {"status": "awake", "tags": ["kv_cache"]}
        assert get(server, "/is_sleeping").json() == {"is_sleeping": False}
        assert states() == [1.0, 0.0, 0.0]
        assert [cached(), cached()] == [0, 32]


def test_the_prefix_cache_is_emptied_unless_requests_run(server: Server) -> None:
    stream = Stream(server, 20, prompt="y" * 40)
    eventually(lambda: len(stream.events) > 1)
    assert post(server, "/reset_prefix_cache").json() == {"success": False}
    assert post(server, "/reset_prefix_cache?reset_running_requests=true").json() == {"success": True}
    assert len(stream.chunks()) == 20
    eventually(lambda: metric(server, "vllm:kv_cache_usage_perc") == 0)
    assert post(server, "/reset_prefix_cache").json() == {"success": True}


def test_all_workers_sleep_and_a_new_one_sleeps_on(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, *LIVE, "--data-parallel-size", "2", environ={"POD_NAME": "sleepers"})
    eventually(lambda: metric(server, "vllm:engine_sleep_state", sleep_state="awake") == 2)
    post(server, "/sleep?level=1")
    assert metric(server, "vllm:engine_sleep_state", sleep_state="weights_offloaded") == 2
    fields = {"model": "tiny", "prompt": "a", "max_tokens": 1}
    assert {post(server, "/v1/completions", **fields).status_code for _ in range(8)} == {503}
    post(server, "/wake_up")
    assert {post(server, "/v1/completions", **fields).status_code for _ in range(8)} == {200}


def test_elastic_ep(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, environ={"POD_NAME": "elastic"})
    scaled = post(server, "/scale_elastic_ep", new_data_parallel_size=4)
    assert scaled.json() == {"message": "Scaled to 4 data parallel engines"}
    status = post(server, "/is_scaling_elastic_ep").json()
    assert (status["is_scaling_elastic_ep"], status["requested_data_parallel_size"]) == (False, 4)
    started = post(server, "/debug/elastic_ep", scaling=True)
    assert started.json() == {"status": "success", "is_scaling_elastic_ep": True}
    refused = post(server, "/v1/completions", model="tiny", prompt="a")
    assert refused.status_code == 503
    assert refused.json() == {"error": "The model is currently scaling. Please try again later."}
    assert get(server, "/health").status_code == 200
    assert post(server, "/is_scaling_elastic_ep").json()["is_scaling_elastic_ep"] is True
    for bad in ({}, {"scaling": "yes"}, {"scaling": True, "duration_seconds": 0}):
        assert post(server, "/debug/elastic_ep", **bad).status_code == 400
    for raw in ('{"scaling": true, "duration_seconds": Infinity}', '{"scaling": true, "duration_seconds": 1e309}'):
        assert requests.post(server.base_url + "/debug/elastic_ep", data=raw).status_code == 400
    assert post(server, "/debug/elastic_ep", scaling=True, duration_seconds=0.3).status_code == 200
    eventually(lambda: post(server, "/v1/completions", model="tiny", prompt="a", max_tokens=1).status_code == 200)


def test_the_model_takes_its_time_to_load(tmp_path: Path) -> None:
    began = time.monotonic()
    server = start(tmp_path, (*TINY, *INSTANT, "--startup-duration", "3s"), {}, APP)
    try:
        _loads(server, began)
    finally:
        server.kill()


def _loads(server: Server, began: float) -> None:
    def answers() -> bool:
        try:
            return get(server, "/health").status_code > 0
        except requests.ConnectionError:
            return False

    eventually(answers)
    statuses = [get(server, path).status_code for path in ("/health", "/ready", "/v1/models")]
    assert statuses == [503, 503, 503]
    assert post(server, "/v1/completions", model="tiny", prompt="a").json()["error"]["code"] == 503
    eventually(lambda: get(server, "/ready").status_code == 200)
    assert time.monotonic() - began > 2.5
    assert get(server, "/health").status_code == 200
    assert post(server, "/v1/completions", model="tiny", prompt="a", max_tokens=1).status_code == 200


def test_profiles_and_tokenizer_info_are_there_when_asked_for(servers: ServerPool) -> None:
    flags = ("--profiler-config", '{"profiler": "torch"}', "--enable-tokenizer-info-endpoint")
    server = servers.get(*TINY, *INSTANT, *flags)
    for path in ("/start_profile", "/stop_profile"):
        answer = post(server, path)
        assert (answer.status_code, answer.text) == (200, "")
    info = get(server, "/tokenizer_info").json()
    assert re.search("messages", info["chat_template"])
    assert info["eos_token"] == "</s>"
    described = get(server, "/server_info?config_format=json").json()
    assert described["vllm_config"]["max_model_len"] == 256
    assert set(described) == {"vllm_config", "vllm_env", "system_env"}
