"""Clients that go away, at any moment of a request: the slot is free long before the request would have ended."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from raw_http import Connection
from server import APP, GTHREAD, TINY, Server, ServerPool
from waiting_support import eventually

CHAT = "/v1/chat/completions"
RUNNING = "vllm:num_requests_running"
WAITING = "vllm:num_requests_waiting"
LIVE = (*TINY, "--metrics-mode", "live")
# Every request here would take at least this long: what frees a slot sooner is the disconnect.
NATURAL_SECONDS = 20.0
# The promise is 0.3 s; the rest is for a busy machine.
FREED_SECONDS = 1.5


def question(**parameters: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 200, "ignore_eos": True, **parameters}


def counts(server: Server) -> tuple[float, float]:
    """Requests (running, waiting)."""
    return server.gauge(RUNNING), server.gauge(WAITING)


def close(connection: Connection) -> None:
    connection.close()


def half_close(connection: Connection) -> None:
    connection.socket.shutdown(socket.SHUT_WR)


def reset(connection: Connection) -> None:
    """Close with RST instead of FIN, as a killed peer's kernel may."""
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    connection.close()


LEAVE = [close, half_close]


@contextlib.contextmanager
def gone_afterwards(server: Server) -> Iterator[Connection]:
    """A connection to an idle server, which is idle again afterwards."""
    eventually(lambda: counts(server) == (0, 0), FREED_SECONDS)
    with Connection(server.port) as connection:
        yield connection
    eventually(lambda: counts(server) == (0, 0), FREED_SECONDS)


@pytest.fixture(params=[APP, GTHREAD])
def slow(request: pytest.FixtureRequest, servers: ServerPool) -> Server:
    """200 tokens at 100 ms each."""
    return servers.get(*LIVE, "--inter-token-latency", "100ms", runner=request.param)


@pytest.fixture(params=[APP, GTHREAD])
def silent(request: pytest.FixtureRequest, servers: ServerPool) -> Server:
    """No token for 30 s, and one request at a time."""
    return servers.get(*LIVE, "--time-to-first-token", "30s", "--max-num-seqs", "1", runner=request.param)


@pytest.mark.parametrize("leave", [*LEAVE, reset])
def test_leaving_in_the_middle_of_a_stream(slow: Server, leave: Callable[[Connection], None]) -> None:
    with gone_afterwards(slow) as connection:
        connection.send("POST", CHAT, question(stream=True))
        connection.read_until(b'"content":"')
        assert counts(slow) == (1, 0)
        leave(connection)
        eventually(lambda: counts(slow) == (0, 0), FREED_SECONDS)


@pytest.mark.parametrize("leave", LEAVE)
def test_leaving_before_an_answer_in_one_piece(slow: Server, leave: Callable[[Connection], None]) -> None:
    with gone_afterwards(slow) as connection:
        connection.send("POST", CHAT, question())
        eventually(lambda: counts(slow) == (1, 0), FREED_SECONDS)
        leave(connection)
        eventually(lambda: counts(slow) == (0, 0), FREED_SECONDS)


@pytest.mark.parametrize("leave", LEAVE)
@pytest.mark.parametrize("stream", [True, False])
def test_leaving_before_the_first_token(silent: Server, stream: bool, leave: Callable[[Connection], None]) -> None:
    with gone_afterwards(silent) as connection:
        connection.send("POST", CHAT, question(stream=stream))
        eventually(lambda: counts(silent) == (1, 0), FREED_SECONDS)
        leave(connection)
        eventually(lambda: counts(silent) == (0, 0), FREED_SECONDS)


@pytest.mark.parametrize("leave", LEAVE)
@pytest.mark.parametrize("stream", [True, False])
def test_leaving_the_queue(silent: Server, stream: bool, leave: Callable[[Connection], None]) -> None:
    with gone_afterwards(silent) as running, Connection(silent.port) as queued:
        running.send("POST", CHAT, question(stream=True))
        eventually(lambda: counts(silent) == (1, 0), FREED_SECONDS)
        queued.send("POST", CHAT, question(stream=stream))
        eventually(lambda: counts(silent) == (1, 1), FREED_SECONDS)
        leave(queued)
        eventually(lambda: counts(silent) == (1, 0), FREED_SECONDS)


def test_the_next_in_the_queue_takes_the_place(silent: Server) -> None:
    with gone_afterwards(silent) as running, Connection(silent.port) as queued:
        running.send("POST", CHAT, question(stream=True))
        eventually(lambda: counts(silent) == (1, 0), FREED_SECONDS)
        queued.send("POST", CHAT, question(stream=True))
        eventually(lambda: counts(silent) == (1, 1), FREED_SECONDS)
        running.close()
        eventually(lambda: counts(silent) == (1, 0), FREED_SECONDS)


def test_all_choices_of_a_request_go_with_its_client(slow: Server) -> None:
    with gone_afterwards(slow) as connection:
        connection.send("POST", CHAT, question(stream=True, n=3))
        eventually(lambda: counts(slow) == (3, 0), FREED_SECONDS)
        connection.close()


def test_fifty_clients_that_leave_together(slow: Server) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(gone_afterwards(slow))
        connections = [stack.enter_context(Connection(slow.port)) for _ in range(50)]
        for connection in connections:
            connection.send("POST", CHAT, question(stream=True))
        eventually(lambda: counts(slow) == (50, 0), 5.0)
        for connection in connections:
            connection.close()


@pytest.mark.parametrize("stream", [True, False])
def test_a_pipelined_request_is_neither_eaten_nor_taken_for_a_goodbye(servers: ServerPool, stream: bool) -> None:
    server = servers.get(*LIVE, "--inter-token-latency", "20ms")
    with Connection(server.port) as connection:
        connection.send("POST", CHAT, question(stream=stream, max_tokens=30))
        connection.send("POST", "/tokenize", {"prompt": "pipelined"})
        first, second = connection.read_reply(), connection.read_reply()
    if stream:
        assert len(first.chunks()) == 31
    else:
        assert first.json()["usage"]["completion_tokens"] == 30
    assert second.json()["count"] == 9


def test_the_freed_slot_serves_the_next_client(servers: ServerPool) -> None:
    server = servers.get(*LIVE, "--inter-token-latency", "20ms", "--max-num-seqs", "1")
    with Connection(server.port) as leaver:
        leaver.send("POST", CHAT, question(stream=True))
        leaver.read_until(b'"content":"')
    before = time.monotonic()
    reply = server.post(CHAT, question(max_tokens=2))
    assert reply.status == 200
    # The other one's 200 tokens would have taken 4 s.
    assert time.monotonic() - before < FREED_SECONDS
