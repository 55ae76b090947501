"""SIGTERM and SIGINT: who may finish, what others are told meanwhile, and how the process ends."""

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from raw_http import END_OF_CHUNKS, Connection
from server import APP, GTHREAD, GUNICORN, TINY, WERKZEUG, Server
from waiting_support import eventually

CHAT = "/v1/chat/completions"
Launch = Callable[..., Server]

TERM, INT = signal.SIGTERM, signal.SIGINT
BOTH_SIGNALS = pytest.mark.parametrize("number", [TERM, INT], ids=["SIGTERM", "SIGINT"])
RUNNERS = pytest.mark.parametrize(
    ("runner", "number"), [(APP, TERM), (GUNICORN, INT), (WERKZEUG, INT)], ids=[APP, GUNICORN, WERKZEUG]
)
# Streams in these tests take from 1.2 s to 20 s; whoever waits as long as this is stuck.
STUCK_SECONDS = 15.0


def question(**parameters: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hi"}], "ignore_eos": True, **parameters}


def begin_stream(server: Server, tokens: int, **parameters: Any) -> Connection:
    """A stream of 20 ms a token whose first token has come."""
    connection = Connection(server.port)
    connection.send("POST", CHAT, question(stream=True, max_tokens=tokens, **parameters))
    connection.read_until(b'"content":"')
    return connection


def wait_until_draining(server: Server) -> None:
    """Returns when the signal has reached the worker: the state shows on connections that are new."""
    eventually(lambda: server.get("/ready").status == 503, STUCK_SECONDS)


def slow(launch: Launch, timeout: int, runner: str = APP) -> Server:
    return launch(*TINY, "--inter-token-latency", "20ms", "--shutdown-timeout", str(timeout), runner=runner)


def check_refusals(server: Server) -> None:
    """What probes and requests get while the server is draining."""
    assert server.get("/health").status == server.get("/ping").status == 503
    assert server.get("/ready").status == 503
    assert server.get("/metrics").status == 200
    refusal = server.post(CHAT, question(max_tokens=1))
    assert (refusal.status, refusal.json()["error"]["code"]) == (503, 503)


def check_last_answer(kept_alive: Connection) -> None:
    """A refusal, with which the connection ends."""
    kept_alive.send("POST", CHAT, question(max_tokens=1))
    reply = kept_alive.read_reply()
    assert (reply.status, (reply.header("connection") or "").lower()) == (503, "close")
    assert kept_alive.read_rest() == b""


@pytest.mark.parametrize(
    ("runner", "number"),
    [(APP, TERM), (APP, INT), (GUNICORN, TERM), (GUNICORN, INT), (GTHREAD, TERM), (WERKZEUG, TERM)],
    ids=["app-TERM", "app-INT", "gunicorn-TERM", "gunicorn-INT", "gthread-TERM", "werkzeug-TERM"],
)
def test_running_streams_finish_and_others_are_refused(launch: Launch, runner: str, number: int) -> None:
    server = slow(launch, 10, runner)
    with Connection(server.port) as kept_alive, begin_stream(server, 80) as stream:
        kept_alive.send("GET", "/health")
        assert kept_alive.read_reply().status == 200
        server.signal(number)
        wait_until_draining(server)
        check_refusals(server)
        # Werkzeug keeps no connection alive.
        if runner != WERKZEUG:
            check_last_answer(kept_alive)
        assert server.process.poll() is None
        assert stream.read_until(b"data: [DONE]").count(b"data: {") > 20
        before = time.monotonic()
        assert server.exit_code() == 0
        # Idle: the rest of the 10 s is not waited for.
        assert time.monotonic() - before < 5


@RUNNERS
def test_without_a_timeout_streams_are_cut(launch: Launch, runner: str, number: int) -> None:
    server = slow(launch, 0, runner)
    with begin_stream(server, 200) as stream:
        server.signal(number)
        rest = stream.read_rest()
        assert b"[DONE]" not in rest
        # A client can tell this from an answer that is over.
        assert not rest.endswith(END_OF_CHUNKS)
        assert server.exit_code() == 0


def test_without_a_timeout_an_answer_in_one_piece_never_comes(launch: Launch) -> None:
    server = slow(launch, 0)
    with Connection(server.port) as connection:
        connection.send("POST", CHAT, question(max_tokens=200))
        time.sleep(0.3)
        server.signal(signal.SIGTERM)
        answer = connection.read_rest()
    assert not answer or answer.startswith(b"HTTP/1.1 503 ")
    assert server.exit_code() == 0


def test_streams_are_cut_when_the_timeout_is_over(launch: Launch) -> None:
    server = slow(launch, 1)
    with begin_stream(server, 30) as short, begin_stream(server, 200) as long:
        server.signal(signal.SIGTERM)
        assert short.read_until(b"data: [DONE]")
        assert b"[DONE]" not in long.read_rest()
        assert server.exit_code() == 0


def test_requests_that_are_queued_finish_too(launch: Launch) -> None:
    flags = ("--inter-token-latency", "20ms", "--shutdown-timeout", "10", "--max-num-seqs", "1")
    server = launch(*TINY, *flags)
    with begin_stream(server, 30) as first, Connection(server.port) as queued:
        queued.send("POST", CHAT, question(max_tokens=3))
        time.sleep(0.2)
        server.signal(signal.SIGTERM)
        assert first.read_until(b"data: [DONE]")
        assert queued.read_reply().json()["usage"]["completion_tokens"] == 3
    assert server.exit_code() == 0


@RUNNERS
def test_a_second_signal_ends_at_once(launch: Launch, runner: str, number: int) -> None:
    server = slow(launch, 60, runner)
    with begin_stream(server, 200) as stream:
        server.signal(number)
        wait_until_draining(server)
        before = time.monotonic()
        server.signal(number)
        assert server.exit_code() == 0
        assert b"[DONE]" not in stream.read_rest()
        # The stream alone would have taken 4 s.
        assert time.monotonic() - before < 2


@pytest.mark.parametrize(("runner", "timeout"), [(APP, 0), (GUNICORN, 30)])
def test_an_idle_server_just_ends(launch: Launch, runner: str, timeout: int) -> None:
    server = slow(launch, timeout, runner)
    with Connection(server.port) as kept_alive:
        kept_alive.send("GET", "/health")
        kept_alive.read_reply()
        before = time.monotonic()
        server.signal(signal.SIGTERM)
        assert server.exit_code() == 0
        assert time.monotonic() - before < 10
    assert "Traceback" not in server.logged()


@BOTH_SIGNALS
def test_a_signal_to_the_whole_group_is_one_signal(launch: Launch, number: int) -> None:
    """A terminal's Ctrl-C reaches the workers as well as their parent."""
    server = slow(launch, 10)
    with begin_stream(server, 60) as stream:
        os.killpg(server.process.pid, number)
        assert stream.read_until(b"data: [DONE]")
        assert server.exit_code() == 0


def test_a_client_that_does_not_read_cannot_hold_up_the_end(launch: Launch) -> None:
    flags = ("--tokenizer", TINY[1], "--max-model-len", "300000", "--inter-token-latency", "0", "--num-gpu-blocks")
    server = launch(*flags, "40000")
    with Connection(server.port) as deaf:
        deaf.send("POST", CHAT, question(stream=True, max_tokens=250_000))
        time.sleep(1.0)
        server.signal(signal.SIGTERM)
        assert server.exit_code(STUCK_SECONDS) == 0


def test_no_request_is_lost_before_the_signal(launch: Launch) -> None:
    """Requests that arrive all the time until the end are answered or refused, never with half an answer."""
    server = slow(launch, 10)
    outcomes: list[int] = []

    def ask() -> None:
        try:
            while True:
                outcomes.append(server.post(CHAT, question(max_tokens=2)).status)
        except (OSError, EOFError):
            return

    clients = [threading.Thread(target=ask) for _ in range(4)]
    with begin_stream(server, 60):
        for client in clients:
            client.start()
        time.sleep(0.3)
        server.signal(signal.SIGTERM)
        wait_until_draining(server)
        assert server.exit_code() == 0
    for client in clients:
        client.join()
    assert set(outcomes) == {200, 503}
