"""Streams: when their chunks come, what they join to, and the bytes between them."""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from raw_http import DONE, Connection, TimedStream, collect_streams
from server import CHAR_TOKENIZER, INSTANT, TINY, Server, ServerPool

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"


def question(path: str, text: str = "Tell me of ships.", **parameters: Any) -> dict[str, Any]:
    """A request for either route."""
    if path == COMPLETIONS:
        return {"prompt": text, **parameters}
    return {"messages": [{"role": "user", "content": text}], **parameters}


ATTEMPTS = 4


def in_a_quiet_moment(check: Callable[[], None]) -> None:
    """Other programs share the processor: what fails once is measured again; only a bug fails every time."""
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(AssertionError):
            return check()
    return check()


def deltas(chunks: list[Any], index: int = 0) -> list[str]:
    """The text increments of one choice."""
    choices = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
    return [choice["text"] if "text" in choice else choice["delta"].get("content") or "" for choice in choices]


def final_choice(chunks: list[Any], index: int = 0) -> dict[str, Any]:
    """The one chunk that finishes a choice."""
    choices = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
    (last,) = [choice for choice in choices if choice["finish_reason"]]
    assert choices[-1] is last
    return last


def whole_text(choice: dict[str, Any]) -> str:
    """The text of a choice that came in one piece."""
    return choice["text"] if "text" in choice else choice["message"]["content"]


@pytest.fixture
def plain(servers: ServerPool) -> Server:
    """The server with its embedded tokenizer and no latency."""
    return servers.get(*INSTANT)


# ---- Timing -------------------------------------------------------------------------------------------------


def mean_gap(stream: TimedStream) -> float:
    """Seconds per token over the whole stream, after the first."""
    times = stream.token_times()
    return (times[-1] - times[0]) / (len(times) - 1)


def test_fifty_parallel_streams_keep_their_pace(servers: ServerPool) -> None:
    server = servers.get(*TINY, "--time-to-first-token", "100ms", "--inter-token-latency", "20ms")
    bodies = [question(CHAT, stream=True, max_tokens=60, ignore_eos=True)] * 50

    def check() -> None:
        streams = collect_streams(server.port, CHAT, bodies, stagger=0.010)
        assert {len(stream.token_times()) for stream in streams} == {60}
        gaps = [mean_gap(stream) for stream in streams]
        assert statistics.mean(gaps) == pytest.approx(0.020, rel=0.02)
        firsts = [stream.token_times()[0] - stream.sent for stream in streams]
        assert min(firsts) >= 0.100
        assert statistics.median(firsts) < 0.120
        assert all(stream.events()[0][0] - stream.sent >= 0.100 for stream in streams)

    in_a_quiet_moment(check)


@pytest.mark.parametrize(("latency", "seconds"), [("500us", 0.0005), ("0.25", 0.00025)])
def test_latencies_below_a_millisecond_show_in_the_mean(servers: ServerPool, latency: str, seconds: float) -> None:
    flags = ("--tokenizer", CHAR_TOKENIZER, "--max-model-len", "4096", "--time-to-first-token", "10ms")
    server = servers.get(*flags, "--inter-token-latency", latency)
    body = question(COMPLETIONS, stream=True, max_tokens=2000, ignore_eos=True)

    def check() -> None:
        (stream,) = collect_streams(server.port, COMPLETIONS, [body])
        assert len(stream.token_times()) == 2000
        assert mean_gap(stream) == pytest.approx(seconds, rel=0.05)

    in_a_quiet_moment(check)


def test_an_answer_in_one_piece_comes_with_its_last_token(servers: ServerPool) -> None:
    server = servers.get(*TINY, "--time-to-first-token", "100ms", "--inter-token-latency", "20ms")

    def check() -> None:
        body = question(CHAT, max_tokens=11, ignore_eos=True)
        (answer,) = collect_streams(server.port, CHAT, [{**body, "stream": True}])
        streamed = answer.token_times()[-1] - answer.sent
        with Connection(server.port) as connection:
            before = time.monotonic()
            connection.send("POST", CHAT, body)
            connection.read_reply()
            whole = time.monotonic() - before
        assert min(streamed, whole) >= 0.300
        assert abs(streamed - whole) < 0.100

    in_a_quiet_moment(check)


def test_queued_streams_come_one_after_the_other(servers: ServerPool) -> None:
    server = servers.get(*TINY, "--max-num-seqs", "1", "--time-to-first-token", "20ms", "--inter-token-latency", "5ms")
    bodies = [question(CHAT, stream=True, max_tokens=20, ignore_eos=True)] * 4

    def check() -> None:
        streams = collect_streams(server.port, CHAT, bodies, stagger=0.010)
        for earlier, later in pairwise(streams):
            assert later.token_times()[0] > earlier.token_times()[-1]
            # The answer itself began while the request was queued.
            assert later.received[0][0] < earlier.token_times()[-1]

    in_a_quiet_moment(check)


def test_queued_choices_of_one_request_come_one_after_the_other(servers: ServerPool) -> None:
    server = servers.get(*TINY, "--max-num-seqs", "1", "--time-to-first-token", "20ms", "--inter-token-latency", "5ms")
    body = question(CHAT, stream=True, max_tokens=5, ignore_eos=True, n=3)
    (stream,) = collect_streams(server.port, CHAT, [body])
    assert [chunk["choices"][0]["index"] for chunk in stream.chunks() if is_token(chunk)] == [0] * 5 + [1] * 5 + [2] * 5


def is_token(chunk: dict[str, Any]) -> bool:
    return bool(chunk["choices"]) and "role" not in chunk["choices"][0].get("delta", {})


def test_the_urgent_request_overtakes_in_the_queue(servers: ServerPool) -> None:
    queue = ("--scheduling-policy", "priority", "--max-num-seqs", "1")
    server = servers.get(*TINY, *queue, "--time-to-first-token", "100ms", "--inter-token-latency", "5ms")
    bodies = [question(CHAT, stream=True, max_tokens=2, ignore_eos=True, priority=rank) for rank in (9, 5, 0)]

    def check() -> None:
        first, patient, urgent = collect_streams(server.port, CHAT, bodies, stagger=0.015)
        assert first.token_times()[0] < urgent.token_times()[0] < patient.token_times()[0]

    in_a_quiet_moment(check)


def test_a_quiet_stream_is_kept_alive_by_comments(servers: ServerPool) -> None:
    server = servers.get(*TINY, "--sse-keep-alive-interval", "1", "--time-to-first-token", "1300ms")
    (stream,) = collect_streams(server.port, CHAT, [question(CHAT, stream=True, max_tokens=1)])
    events = [event for _, event in stream.events()]
    assert events[0] == b": keep-alive"
    assert events[-1] == DONE
    assert all(event.startswith(b"data: ") for event in events[1:])
    # Other APIs have no comments.
    message = {**question(CHAT, stream=True, max_tokens=1), "model": "tiny"}
    (stream,) = collect_streams(server.port, "/v1/messages", [message])
    assert stream.events()[0][1].startswith(b"event: message_start\n")


# ---- Text ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("parameters", [{"max_tokens": 200}, {"max_tokens": 7, "ignore_eos": True}, {"n": 3}, {}])
def test_chunks_join_to_the_answer_in_one_piece(plain: Server, path: str, parameters: dict[str, Any]) -> None:
    body = question(path, seed=11, **parameters)
    whole = plain.post(path, body).json()
    chunks = plain.post(path, {**body, "stream": True, "stream_options": {"include_usage": True}}).chunks()
    for choice in whole["choices"]:
        assert "".join(deltas(chunks, choice["index"])) == whole_text(choice)
        assert final_choice(chunks, choice["index"])["finish_reason"] == choice["finish_reason"]
    usage = {key: value for key, value in whole["usage"].items() if value is not None}
    assert chunks[-1]["usage"] == usage
    assert chunks[-1]["choices"] == []


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_every_chunk_says_how_many_tokens_there_are_so_far(plain: Server, path: str) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    body = question(path, stream=True, stream_options=options, max_tokens=9, ignore_eos=True, n=2)
    *chunks, last = plain.post(path, body).chunks()
    for index in (0, 1):
        own = [chunk for chunk in chunks if chunk["choices"][0]["index"] == index]
        counts = [chunk["usage"]["completion_tokens"] for chunk in own]
        assert counts == list(range(0 if path == CHAT else 1, 10))
    prompts = {chunk["usage"]["prompt_tokens"] for chunk in chunks}
    assert prompts == {last["usage"]["prompt_tokens"]}
    assert last["usage"]["completion_tokens"] == 18


def test_the_tokens_of_two_choices_take_turns(servers: ServerPool) -> None:
    """In their order, though the second finds the prompt in the prefix cache."""
    flags = ("--time-to-first-token", "20ms", "--inter-token-latency", "5ms", "--prefill-time-per-token", "100us")
    server = servers.get(*TINY, *flags)
    chunks = server.post(CHAT, question(CHAT, "x" * 100, stream=True, n=2, max_tokens=6, ignore_eos=True)).chunks()
    roles = [chunk["choices"][0]["index"] for chunk in chunks[:2]]
    assert roles == [0, 1]
    assert all("role" in chunk["choices"][0]["delta"] for chunk in chunks[:2])
    order = [chunk["choices"][0]["index"] for chunk in chunks[2:]]
    assert order == [0, 1] * 6


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("include", [False, True])
def test_a_stop_string_is_held_back_until_it_is_certain(plain: Server, path: str, include: bool) -> None:
    body = question(path, seed=5, max_tokens=60, ignore_eos=True)
    text = whole_text(plain.post(path, body).json()["choices"][0])
    stop = text[40:52]
    expected = text[: text.index(stop) + (len(stop) if include else 0)]
    body |= {"stop": [stop], "include_stop_str_in_output": include}
    whole = plain.post(path, body).json()
    chunks = plain.post(path, {**body, "stream": True, "stream_options": {"include_usage": True}}).chunks()
    assert whole_text(whole["choices"][0]) == expected
    assert "".join(deltas(chunks)) == expected
    last = final_choice(chunks)
    assert (last["finish_reason"], last["stop_reason"]) == ("stop", stop)
    assert chunks[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"] < 60


def test_what_only_begins_like_a_stop_string_is_delivered(plain: Server) -> None:
    body = question(CHAT, seed=5, max_tokens=40, ignore_eos=True)
    text = whole_text(plain.post(CHAT, body).json()["choices"][0])
    near_misses = [text[10:18] + "\u2603", text[-3:] + "\u2603"]
    chunks = plain.post(CHAT, {**body, "stop": near_misses, "stream": True}).chunks()
    assert "".join(deltas(chunks)) == text
    assert final_choice(chunks)["finish_reason"] == "length"


def test_characters_of_several_tokens_are_never_cut(servers: ServerPool) -> None:
    server = servers.get("--mode", "echo", *INSTANT)
    text = 'Ünïcode: \u4f60\u597d, \U0001f469\u200d\U0001f680, "quotes" \\ and \u2028 lines\n\ttoo'
    reply = server.post(CHAT, question(CHAT, text, stream=True, max_tokens=200))
    parts = deltas(reply.chunks())
    assert "".join(parts) == text
    assert "\ufffd" not in "".join(parts)


def test_log_probabilities_come_with_their_tokens(plain: Server) -> None:
    body = question(CHAT, stream=True, seed=3, max_tokens=12, ignore_eos=True, logprobs=True, top_logprobs=2)
    chunks = plain.post(CHAT, body).chunks()
    entries = [entry for chunk in chunks if (found := chunk["choices"][0]["logprobs"]) for entry in found["content"]]
    assert len(entries) == 12
    assert all(len(entry["top_logprobs"]) == 2 and entry["logprob"] <= 0 for entry in entries)
    assert bytes(byte for entry in entries for byte in entry["bytes"]).decode() == "".join(deltas(chunks))


def test_seeds_fix_answers_and_their_absence_varies_them(plain: Server) -> None:
    def answers(**parameters: Any) -> set[str]:
        body = question(CHAT, max_tokens=40, ignore_eos=True, **parameters)
        return {whole_text(plain.post(CHAT, body).json()["choices"][0]) for _ in range(3)}

    assert len(answers()) == 3
    assert len(answers(seed=1)) == 1
    assert len(answers(temperature=0)) == 1
    assert answers(seed=1) != answers(seed=2)


# ---- Bytes --------------------------------------------------------------------------------------------------

VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"n": 2},
    {"max_tokens": 1},
    {"stop": ["e"]},
    {"stream_options": {"include_usage": True}},
    {"stream_options": None},
    {"stream_options": {}},
    {"logprobs": 1},
    {"echo": True},
    {"return_token_ids": True},
)


def variants() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in (CHAT, COMPLETIONS):
        for parameters in VARIANTS:
            adapted = {**parameters, "logprobs": True} if path == CHAT and "logprobs" in parameters else parameters
            yield path, adapted


@pytest.mark.parametrize(("path", "parameters"), list(variants()))
def test_every_stream_ends_with_done(plain: Server, path: str, parameters: dict[str, Any]) -> None:
    reply = plain.post(path, question(path, stream=True, **parameters))
    assert reply.status == 200
    assert reply.body.endswith(b"\n\ndata: [DONE]\n\n")
    assert b"\r" not in reply.body
    assert reply.body.count(DONE) == 1
    assert all(event.startswith(b"data: ") and b"\n" not in event for event in reply.events())
    chunks = reply.chunks()
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1
    for index in range(parameters.get("n", 1)):
        assert final_choice(chunks, index)["finish_reason"] in ("stop", "length")


def test_headers_of_a_stream(plain: Server) -> None:
    reply = plain.post(CHAT, question(CHAT, stream=True, max_tokens=1))
    assert reply.header("content-type") == "text/event-stream; charset=utf-8"
    assert reply.header("transfer-encoding") == "chunked"
    assert reply.header("content-length") is None
    assert reply.header("cache-control") is None


def test_a_connection_serves_on_after_a_stream(plain: Server) -> None:
    with Connection(plain.port) as connection:
        for _ in range(3):
            connection.send("POST", CHAT, question(CHAT, stream=True, max_tokens=2))
            assert connection.read_reply().chunks()
            connection.send("GET", "/health")
            assert connection.read_reply().status == 200
