"""Sleep, pause, resets, aborts and loading: what clients and metrics see of them."""

import itertools
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from server import APP, INSTANT, TINY, Server, ServerPool, start

WAIT_SECONDS = 60.0
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

    def __init__(self, server: Server, tokens: int, path: str = "/v1/completions", **fields: object) -> None:
        body = {"model": "tiny", "max_tokens": tokens, "ignore_eos": True, "stream": True, **fields}
        if path == "/v1/completions":
            body.setdefault("prompt", "hello")
        self.response = requests.post(server.base_url + path, json=body, stream=True, timeout=30)
        self.events: list[tuple[float, str]] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        for line in self.response.iter_lines():
            if line:
                self.events.append((time.monotonic(), line.decode().removeprefix("data: ")))

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join(WAIT_SECONDS)

    def chunks(self) -> list[dict]:
        """All chunks, once the stream has ended."""
        self.join()
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
    # vLLM calls any engine that schedules nothing asleep.
    assert get(server, "/is_sleeping").json() == {"is_sleeping": True}
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
    answer = aborted(server, "/v1/chat/completions", QUESTION)
    choice, usage = answer["choices"][0], answer["usage"]
    assert choice["finish_reason"] == "abort"
    assert 1 <= usage["completion_tokens"] < 100
    assert len(choice["message"]["content"]) == usage["completion_tokens"]


OPTIONS = {"include_usage": True, "continuous_usage_stats": True}
QUESTION = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 150, "ignore_eos": True}


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/completions", {"prompt": "hello", "logprobs": 1}),
        ("/v1/chat/completions", {"messages": QUESTION["messages"], "logprobs": True, "top_logprobs": 1}),
    ],
)
def test_the_chunk_that_ends_an_aborted_stream_has_no_token(server: Server, path: str, fields: Any) -> None:
    stream = Stream(server, 60, path, return_token_ids=True, stream_options=OPTIONS, **fields)
    eventually(lambda: len(stream.events) > 3)
    post(server, "/abort_requests")
    *told, finish, usage = stream.chunks()
    (choice,) = finish["choices"]
    ids = [token for chunk in told for token in chunk["choices"][0].get("token_ids") or ()]
    assert (choice["finish_reason"], choice["token_ids"]) == ("abort", [])
    assert {tuple(part) for part in choice["logprobs"].values()} == {()}
    assert finish["usage"]["completion_tokens"] == usage["usage"]["completion_tokens"] == len(ids) > 0


def test_a_message_that_is_aborted_has_no_stop_reason(server: Server) -> None:
    stream = Stream(server, 60, "/v1/messages", messages=QUESTION["messages"])
    eventually(lambda: len(stream.events) > 3)
    post(server, "/abort_requests")
    stream.join()
    told = [json.loads(data) for _, data in stream.events if data.startswith("{")]
    assert [event["type"] for event in told[-2:]] == ["message_delta", "message_stop"]
    assert told[-2]["delta"] == {"stop_reason": None, "stop_sequence": None}
    assert "stop_reason" not in aborted(server, "/v1/messages", QUESTION)


def test_a_response_that_is_aborted_is_complete(server: Server) -> None:
    body = {"model": "tiny", "input": "hello", "max_output_tokens": 150, "ignore_eos": True}
    answer = aborted(server, "/v1/responses", body)
    assert (answer["status"], answer["incomplete_details"]) == ("completed", None)
    assert answer["usage"]["output_tokens"] == len(answer["output"][0]["content"][0]["text"]) > 0


def aborted(server: Server, path: str, body: Any) -> Any:
    """The answer in one piece of a request that is ended while it runs."""
    answers: list[requests.Response] = []
    thread = threading.Thread(target=lambda: answers.append(post(server, path, **body)))
    thread.start()
    eventually(lambda: metric(server, "vllm:num_requests_running") == 1)
    time.sleep(0.2)
    assert post(server, "/abort_requests").json() == {"status": "aborted", "aborted": 1}
    thread.join(WAIT_SECONDS)
    (answer,) = answers
    assert answer.status_code == 200
    return answer.json()


def test_requests_are_aborted_by_their_ids(server: Server) -> None:
    first, second = Stream(server, 60, request_id="one"), Stream(server, 20, request_id="two")
    eventually(lambda: len(first.events) > 2 and len(second.events) > 2)
    assert post(server, "/abort_requests", request_ids=["cmpl-one-0", "nobody"]).json()["aborted"] == 2
    assert first.chunks()[-1]["choices"][0]["finish_reason"] == "abort"
    assert second.chunks()[-1]["choices"][0]["finish_reason"] == "length"


def test_an_empty_list_of_ids_means_all(server: Server) -> None:
    stream = Stream(server, 60, n=2)
    eventually(lambda: len(stream.events) > 2)
    # vLLM counts the two sequences, and the prompt that they were sampled from.
    assert post(server, "/abort_requests", request_ids=[]).json()["aborted"] == 3
    reasons = [choice["finish_reason"] for chunk in stream.chunks() for choice in chunk["choices"]]
    assert sorted(filter(None, reasons)) == ["abort", "abort"]


def test_pause_wait_lets_requests_finish(server: Server) -> None:
    stream = Stream(server, 15)
    eventually(lambda: len(stream.events) > 2)
    assert post(server, "/pause?mode=wait").status_code == 200
    # The answer to /pause came when all was done.
    chunks = stream.chunks()
    assert len(chunks) == 15
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert post(server, "/v1/completions", model="tiny", prompt="a", max_tokens=1).status_code == 503


def test_pause_wait_leaves_the_queue_as_it_is(servers: ServerPool) -> None:
    server = servers.get(*SLOW, *LIVE, "--max-num-seqs", "1")
    running, queued = Stream(server, 15), Stream(server, 2)
    eventually(lambda: metric(server, "vllm:num_requests_waiting") == 1 and len(running.events) > 2)
    assert post(server, "/pause?mode=wait").status_code == 200
    assert len(running.chunks()) == 15
    assert (metric(server, "vllm:num_requests_waiting"), queued.events) == (1, [])
    post(server, "/resume")
    assert len(queued.chunks()) == 2


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
    fields = {"model": "tiny", "prompt": "a", "max_tokens": 40, "ignore_eos": True}
    thread = threading.Thread(target=lambda: answers.append(post(server, "/v1/completions", **fields)))
    thread.start()
    eventually(lambda: metric(server, "vllm:num_requests_running") == 1)
    post(server, "/pause?mode=keep")
    time.sleep(0.8)
    assert not answers
    post(server, "/resume")
    thread.join(WAIT_SECONDS)
    assert answers[0].json()["usage"]["completion_tokens"] == 40
    # 40 tokens take 2 s of their own.
    assert time.monotonic() - began > 2.7


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
    assert [metric(server, operations, operation=name) for name in ("sleep", "wake")] == [2, 6]
    assert metric(server, "vllm:sleep_mode_operations_in_flight") == 0


def test_requests_to_a_sleeping_engine_wait(server: Server) -> None:
    assert post(server, "/sleep?level=0").json() == {"status": "sleeping", "level": 0}
    assert get(server, "/is_paused").json() == {"is_paused": True}
    assert metric(server, "vllm:engine_sleep_state") == 0
    stream = Stream(server, 3)
    eventually(lambda: metric(server, "vllm:num_requests_waiting") == 1)
    assert metric(server, "vllm:num_requests_running") == 0
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
    assert metric(server, "vllm:engine_sleep_state") == 0
    message = "release_kv_cache_memory() requires all executor memory to be resident"
    assert post(server, "/release_kv_cache_memory").json()["error"]["message"] == message
    assert post(server, "/wake_up?tags=kv_cache").json()["status"] == "awake"
    # Waking up ends the pause as well.
    assert post(server, "/v1/completions", model="tiny", prompt="a", max_tokens=1).status_code == 200


def test_new_weights(server: Server) -> None:
    post(server, "/pause")
    for path, body, message in (
        ("/init_weight_transfer_engine", {"init_info": {"rank": 0}}, "Weight transfer initialized"),
        ("/start_weight_update", {}, "Weight update started"),
        ("/update_weights", {"update_info": {"names": ["a"]}}, "Weights updated"),
        ("/finish_weight_update", {"weight_version": "v2"}, "Weight update finished"),
        ("/shutdown_weight_transfer_engine", {}, "Weight transfer shut down"),
    ):
        assert post(server, path, **body).json() == {"message": message}
    assert get(server, "/weight_info").json() == {"weight_version": "v2"}
    before = post(server, "/weight_checker", action="checksum").json()["checksums"]
    assert post(server, "/weight_checker", action="compare", baseline=before).json() == {
        "match": True,
        "mismatches": [],
    }
    assert post(server, "/update_weight_version", new_version="v3").json() == {"success": True, "new_version": "v3"}
    compared = post(server, "/weight_checker", action="compare", baseline={**before, "b": "x"}).json()
    assert compared == {"match": False, "mismatches": ["b", *before]}
    assert post(server, "/weight_checker", action="reset").json() == {"status": "reset"}
    assert metric(server, "vllm:rl_weight_update_operation_duration_seconds_count", operation="update") == 1


MISSING = "{'type': 'missing', 'loc': 'body.%s', 'msg': 'Field required', 'input': 'None'}"


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/init_weight_transfer_engine", "{}", [MISSING % "init_info"]),
        ("/update_weight_version", '{"new_version": null}', [MISSING % "new_version"]),
        ("/weight_checker", "[]", [MISSING % "action", MISSING % "baseline"]),
        (
            "/update_weights",
            '{"update_info": 1}',
            [
                "{'type': 'dict_type', 'loc': 'body.update_info', 'msg': 'Input should be a valid dictionary', "
                "'input': '1'}",
                "{'type': 'list_type', 'loc': 'body.update_info', 'msg': 'Input should be a valid list', 'input': '1'}",
            ],
        ),
        ("/weight_checker", '{"action": "compare"}', "action='compare' requires a 'baseline' object"),
        ("/collective_rpc", '{"method": null}', "Missing 'method' in request body"),
        ("/collective_rpc", '{"method": "x", "args": null}', "'NoneType' object is not iterable"),
        (
            "/collective_rpc",
            "{",
            "JSON decode error: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
        ("/abort_requests", "[]", "Request body must be a JSON object"),
        ("/scale_elastic_ep", '{"new_data_parallel_size": 0}', "new_data_parallel_size must be a positive integer"),
    ],
)
def test_refusals(server: Server, path: str, body: str, told: list[str] | str) -> None:
    refused = requests.post(server.base_url + path, data=body, headers={"Content-Type": "application/json"})
    if isinstance(told, list):
        count = f"{len(told)} validation error{'s' if len(told) > 1 else ''}:"
        told = "\n  ".join([count, *told])
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, told)


def test_the_prefix_cache_is_emptied_unless_requests_run(server: Server) -> None:
    stream = Stream(server, 20, prompt="y" * 40)
    eventually(lambda: len(stream.events) > 1)
    assert post(server, "/reset_prefix_cache").json() == {"success": False}
    before = metric(server, "vllm:num_preemptions_total")
    assert post(server, "/reset_prefix_cache?reset_running_requests=true").json() == {"success": True}
    assert len(stream.chunks()) == 20
    assert metric(server, "vllm:num_preemptions_total") == before + 1
    eventually(lambda: metric(server, "vllm:kv_cache_usage_perc") == 0)
    assert post(server, "/reset_prefix_cache").json() == {"success": True}


def test_all_workers_sleep_and_a_new_one_sleeps_on(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, *LIVE, "--data-parallel-size", "2", environ={"POD_NAME": "sleepers"})
    eventually(lambda: metric(server, "vllm:engine_sleep_state", sleep_state="awake") == 2)
    post(server, "/sleep?level=1")
    assert metric(server, "vllm:engine_sleep_state", sleep_state="weights_offloaded") == 2
    fields = {"model": "tiny", "prompt": "a", "max_tokens": 1}
    post(server, "/pause")
    assert {post(server, "/v1/completions", **fields).status_code for _ in range(8)} == {503}
    _kill_workers(server)
    eventually(lambda: metric(server, "vllm:engine_sleep_state", sleep_state="weights_offloaded") == 2)
    assert {post(server, "/v1/completions", **fields).status_code for _ in range(8)} == {503}
    assert post(server, "/wake_up").json()["status"] == "awake"
    assert {post(server, "/v1/completions", **fields).status_code for _ in range(8)} == {200}


def _kill_workers(server: Server) -> None:
    """All of them, at once; returns when others have taken their places."""

    def workers() -> set[str]:
        listed = subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True).stdout
        return set(listed.split())

    old = workers()
    for worker in old:
        os.kill(int(worker), signal.SIGKILL)
    eventually(lambda: len(workers() - old) == len(old))


def test_elastic_scaling_waits_for_requests(server: Server) -> None:
    stream = Stream(server, 40)
    eventually(lambda: len(stream.events) > 1)
    timed_out = post(server, "/scale_elastic_ep", new_data_parallel_size=2, drain_timeout=1)
    message = "Scale failed due to request drain timeout after 1 seconds"
    error = {"message": message, "type": "Request Timeout", "param": None, "code": 408}
    assert (timed_out.status_code, timed_out.json()) == (408, {"error": error})
    assert stream.chunks()[-1]["choices"][0]["finish_reason"] == "length"
    assert post(server, "/scale_elastic_ep", new_data_parallel_size=2).status_code == 200


def test_elastic_ep(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, environ={"POD_NAME": "elastic"})
    scaled = post(server, "/scale_elastic_ep", new_data_parallel_size=4)
    assert scaled.json() == {"message": "Scaled to 4 data parallel engines"}
    started = post(server, "/debug/elastic_ep", scaling=True)
    assert started.json() == {"status": "success", "is_scaling_elastic_ep": True}
    refused = post(server, "/v1/completions", model="tiny", prompt="a")
    assert refused.status_code == 503
    assert refused.json() == {"error": "The model is currently scaling. Please try again later."}
    assert get(server, "/health").status_code == 200
    status = post(server, "/is_scaling_elastic_ep").json()
    assert status == {
        "is_scaling_elastic_ep": True,
        "phase": "committing",
        "epoch": None,
        "error": None,
        "requested_data_parallel_size": None,
    }
    for bad in ({}, {"scaling": "yes"}, {"scaling": True, "duration_seconds": 0}):
        assert post(server, "/debug/elastic_ep", **bad).status_code == 400
    for raw in ('{"scaling": true, "duration_seconds": Infinity}', '{"scaling": true, "duration_seconds": 1e309}'):
        assert requests.post(server.base_url + "/debug/elastic_ep", data=raw).status_code == 400
    assert post(server, "/debug/elastic_ep", scaling=True, duration_seconds=0.3).status_code == 200
    eventually(lambda: post(server, "/v1/completions", model="tiny", prompt="a", max_tokens=1).status_code == 200)


def test_while_the_model_loads_nothing_is_served(tmp_path: Path) -> None:
    # Longer than this test takes on any machine.
    server = start(tmp_path, (*TINY, *INSTANT, "--startup-duration", "10m"), {}, APP)
    try:
        eventually(lambda: _answers(server))
        statuses = [get(server, path).status_code for path in ("/health", "/ready", "/v1/models")]
        assert statuses == [503, 503, 503]
        assert post(server, "/v1/completions", model="tiny", prompt="a").json()["error"]["code"] == 503
    finally:
        server.kill()


def test_the_model_takes_its_time_to_load(tmp_path: Path) -> None:
    began = time.monotonic()
    server = start(tmp_path, (*TINY, *INSTANT, "--startup-duration", "2s"), {}, APP)
    try:
        eventually(lambda: _answers(server) and get(server, "/ready").status_code == 200)
        assert time.monotonic() - began > 2
        assert get(server, "/health").status_code == 200
        assert post(server, "/v1/completions", model="tiny", prompt="a", max_tokens=1).status_code == 200
    finally:
        server.kill()


def _answers(server: Server) -> bool:
    try:
        return get(server, "/health").status_code > 0
    except requests.ConnectionError:
        return False


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


def test_stopping_choices_of_which_one_has_ended(servers: ServerPool) -> None:
    lengths = ("--output-tokens-mean", "40", "--output-tokens-std-dev", "30")
    server = servers.get(*SLOW, *LIVE, *lengths, "--inter-token-latency", "20")
    # The sequences end at different times: the model decides when.
    fields = {"model": "tiny", "prompt": "hello", "max_tokens": 200, "n": 6, "temperature": 1.0}
    answers: list[requests.Response] = []
    thread = threading.Thread(target=lambda: answers.append(post(server, "/v1/completions", **fields)))
    thread.start()
    stream = Stream(server, 200, n=6, ignore_eos=False)
    eventually(lambda: 2 <= metric(server, "vllm:num_requests_running") <= 9)
    post(server, "/abort_requests")
    reasons = [choice["finish_reason"] for chunk in stream.chunks() for choice in chunk["choices"]]
    thread.join(WAIT_SECONDS)
    assert answers[0].status_code == 200
    whole = [choice["finish_reason"] for choice in answers[0].json()["choices"]]
    for ended in (whole, [reason for reason in reasons if reason]):
        assert len(ended) == 6
        assert set(ended) <= {"abort", "stop"}
    assert "stop" in whole or "stop" in reasons
