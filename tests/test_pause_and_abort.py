"""Pausing and aborting: what becomes of the requests that run, and of those that come."""

import itertools
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from control_support import LIVE, SLOW, Stream, controlled, get, post
from server import Server, ServerPool
from waiting_support import WAIT_SECONDS, eventually

PAUSED = {
    "message": "Generation is paused. Please retry after it resumes.",
    "type": "ServiceUnavailableError",
    "param": None,
    "code": 503,
}
OPTIONS = {"include_usage": True, "continuous_usage_stats": True}
QUESTION = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 150, "ignore_eos": True}


@pytest.fixture
def server(servers: ServerPool) -> Iterator[Server]:
    with controlled(servers) as running:
        yield running


def test_pause_ends_what_runs_and_refuses_what_comes(server: Server) -> None:
    before = server.gauge("vllm:request_success_total", finished_reason="abort")
    stream = Stream(server, 100, stream_options={"include_usage": True})
    eventually(lambda: len(stream.events) > 3)
    assert post(server, "/pause").json() == {"status": "paused"}
    assert get(server, "/is_paused").json() == {"is_paused": True}
    # vLLM calls any engine that schedules nothing asleep.
    assert get(server, "/is_sleeping").json() == {"is_sleeping": True}
    *tokens, finish, usage = stream.chunks()
    assert (finish["choices"][0]["finish_reason"], finish["choices"][0]["text"]) == ("abort", "")
    assert usage["usage"]["completion_tokens"] == len(tokens)
    assert server.gauge("vllm:request_success_total", finished_reason="abort") == before + 1
    assert server.gauge("vllm:num_requests_running") == 0
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
    eventually(lambda: server.gauge("vllm:num_requests_running") == 1)
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


def test_stopping_choices_of_which_one_has_ended(servers: ServerPool) -> None:
    lengths = ("--output-tokens-mean", "40", "--output-tokens-std-dev", "30")
    server = servers.get(*SLOW, *LIVE, *lengths, "--inter-token-latency", "20")
    # The sequences end at different times: the model decides when.
    fields = {"model": "tiny", "prompt": "hello", "max_tokens": 200, "n": 6, "temperature": 1.0}
    answers: list[requests.Response] = []
    thread = threading.Thread(target=lambda: answers.append(post(server, "/v1/completions", **fields)))
    thread.start()
    stream = Stream(server, 200, n=6, ignore_eos=False)
    eventually(lambda: 2 <= server.gauge("vllm:num_requests_running") <= 9)
    post(server, "/abort_requests")
    reasons = [choice["finish_reason"] for chunk in stream.chunks() for choice in chunk["choices"]]
    thread.join(WAIT_SECONDS)
    assert answers[0].status_code == 200
    whole = [choice["finish_reason"] for choice in answers[0].json()["choices"]]
    for ended in (whole, [reason for reason in reasons if reason]):
        assert len(ended) == 6
        assert set(ended) <= {"abort", "stop"}
    assert "stop" in whole or "stop" in reasons


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
    eventually(lambda: server.gauge("vllm:num_requests_waiting") == 1 and len(running.events) > 2)
    assert post(server, "/pause?mode=wait").status_code == 200
    assert len(running.chunks()) == 15
    assert (server.gauge("vllm:num_requests_waiting"), queued.events) == (1, [])
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
    assert server.gauge("vllm:num_requests_running") == 1
    assert server.gauge("vllm:num_requests_waiting") == 1
    assert server.gauge("vllm:generation_tokens_total") >= held
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
    eventually(lambda: server.gauge("vllm:num_requests_running") == 1)
    post(server, "/pause?mode=keep")
    time.sleep(0.8)
    assert not answers
    post(server, "/resume")
    thread.join(WAIT_SECONDS)
    assert answers[0].json()["usage"]["completion_tokens"] == 40
    # 40 tokens take 2 s of their own.
    assert time.monotonic() - began > 2.7
