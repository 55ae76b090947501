"""Clients that send too much, too slowly, or do not read: bounded, counted, and no burden to the others."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from raw_http import Connection, connect, request_bytes
from server import APP, GTHREAD, INSTANT, TINY, Server, ServerPool

CHAT = "/v1/chat/completions"
QUESTION = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
LIMIT = 65_536
DROPPED = "vllm_mock:dropped_connections_total"
# Far more than sockets hold.
MANY_TOKENS = 60_000


@pytest.fixture(params=[APP, GTHREAD])
def strict(request: pytest.FixtureRequest, servers: ServerPool) -> Server:
    """64 KiB at most, within a second, and a second for taking the answer."""
    flags = (*TINY[:-1], "80000", *INSTANT, "--max-request-bytes", str(LIMIT), "--request-read-timeout", "1")
    return servers.get(
        *flags, "--response-write-timeout", "1", "--h11-max-incomplete-event-size", "100000", runner=request.param
    )


def dropped(server: Server, reason: str) -> float:
    """How many connections were given up for this reason."""
    page = server.get("/metrics").body.decode()
    [value] = [
        line.rpartition(" ")[2] for line in page.splitlines() if line.startswith(f'{DROPPED}{{reason="{reason}"')
    ]
    return float(value)


@pytest.fixture
def counted(strict: Server) -> Iterator[Callable[[str, int], None]]:
    """Checks afterwards how many more connections were given up."""
    before = {reason: dropped(strict, reason) for reason in ("too_large", "slow_request", "slow_reader")}
    expected: dict[str, int] = {}
    yield expected.__setitem__
    deadline = time.monotonic() + 5
    while True:
        rise = {reason: dropped(strict, reason) - count for reason, count in before.items()}
        if {reason: count for reason, count in rise.items() if count} == expected:
            return
        assert time.monotonic() < deadline, rise
        time.sleep(0.05)


def body_of(size: int) -> bytes:
    """A chat request of exactly so many bytes."""
    empty = json.dumps({**QUESTION, "user": ""}).encode()
    return empty.replace(b'"user": ""', b'"user": "' + b"x" * (size - len(empty)) + b'"')


def head(fields: str, path: str = CHAT) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{fields}\r\n\r\n".encode()


def chunked(data: bytes, size: int = 8192) -> bytes:
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(b"%X\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def refusal(text: str, kind: str, code: int) -> dict[str, Any]:
    return {"error": {"message": text, "type": kind, "param": None, "code": code}}


TOO_LARGE = refusal(
    "The request body is larger than 65536 bytes (--max-request-bytes).", "Request Entity Too Large", 413
)
TOO_SLOW = refusal("The request body did not come within 1 seconds (--request-read-timeout).", "Request Timeout", 408)


def test_the_largest_body_that_is_taken(strict: Server, counted: Callable[[str, int], None]) -> None:
    body = body_of(LIMIT)
    assert strict.request("POST", CHAT, body, {"Content-Type": "application/json"}).status == 200
    with Connection(strict.port) as connection:
        connection.socket.sendall(head("Transfer-Encoding: chunked") + chunked(body))
        assert connection.read_reply().status == 200


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/tokenize", "/v1/embeddings", "/set_metrics"])
def test_a_body_that_is_one_byte_too_long(strict: Server, counted: Callable[[str, int], None], path: str) -> None:
    counted("too_large", 2)
    for fields, data in (
        (f"Content-Length: {LIMIT + 1}", body_of(LIMIT + 1)),
        ("Transfer-Encoding: chunked", chunked(body_of(LIMIT + 1))),
    ):
        with Connection(strict.port) as connection:
            connection.socket.sendall(head(fields, path) + data)
            reply = connection.read_reply()
            assert (reply.status, reply.json()) == (413, TOO_LARGE)
            assert reply.header("connection") == "close"
            assert connection.read_rest() == b""


def test_anthropics_shape_of_413(strict: Server, counted: Callable[[str, int], None]) -> None:
    counted("too_large", 1)
    reply = strict.request("POST", "/v1/messages", b"x" * (LIMIT + 1), {"Content-Type": "application/json"})
    assert reply.status == 413
    assert reply.json()["type"] == "error"
    assert reply.json()["error"]["type"] == "request_too_large"


@pytest.mark.parametrize("fields", ["Content-Length: 60000000", "Content-Length: 60000000\r\nExpect: 100-continue"])
def test_the_refusal_comes_before_the_body(strict: Server, counted: Callable[[str, int], None], fields: str) -> None:
    counted("too_large", 1)
    with Connection(strict.port) as connection:
        connection.socket.sendall(head(fields))
        reply = connection.read_reply()
        if reply.status == 100:
            reply = connection.read_reply()
        assert (reply.status, reply.json()) == (413, TOO_LARGE)


def test_the_client_still_sends_and_reads_the_refusal(strict: Server, counted: Callable[[str, int], None]) -> None:
    counted("too_large", 1)
    reply = strict.request("POST", CHAT, b"x" * 20_000_000, {"Content-Type": "application/json"})
    assert (reply.status, reply.json()) == (413, TOO_LARGE)


def test_a_form_that_is_too_large(strict: Server, counted: Callable[[str, int], None]) -> None:
    counted("too_large", 1)
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + b"x" * LIMIT + b"\r\n--b--"
    reply = strict.request(
        "POST", "/v1/audio/transcriptions", form, {"Content-Type": "multipart/form-data; boundary=b"}
    )
    assert (reply.status, reply.json()) == (413, TOO_LARGE)


def test_bodies_that_nobody_reads_end_too(strict: Server, counted: Callable[[str, int], None]) -> None:
    with Connection(strict.port) as connection:
        connection.socket.sendall(head("Content-Length: 10000000", "/nowhere"))
        assert connection.read_reply().status == 404
        assert connection.read_rest() == b""
    counted("too_large", 1)


@pytest.mark.parametrize("data", [b"x" * 200_000, b" " * 200_000], ids=["line", "spaces"])
@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nX: "], ids=["first line", "field"])
def test_a_head_that_is_too_large(strict: Server, start: bytes, data: bytes) -> None:
    with Connection(strict.port) as connection:
        connection.socket.sendall(start + data)
        reply = connection.read_reply()
        assert (reply.status, reply.body) == (400, b"Invalid HTTP request received.")


def test_a_flood_of_header_fields(strict: Server) -> None:
    fields = "\r\n".join(f"X-{number}: y" for number in range(300))
    with Connection(strict.port) as connection:
        connection.socket.sendall(head(fields))
        assert connection.read_reply().status == 400


def ticking(data: bytes, connection: socket.socket, stop: threading.Event) -> None:
    """Sends a byte every 50 ms."""
    for position in range(len(data)):
        if stop.wait(0.05):
            return
        try:
            connection.send(data[position : position + 1])
        except OSError:
            return


@pytest.mark.parametrize("fields", [f"Content-Length: {LIMIT}", "Transfer-Encoding: chunked"])
def test_a_body_that_comes_a_byte_at_a_time(strict: Server, counted: Callable[[str, int], None], fields: str) -> None:
    counted("slow_request", 1)
    stop = threading.Event()
    with Connection(strict.port) as connection:
        connection.socket.sendall(head(fields))
        data = chunked(b" " * 400) if "chunked" in fields else b" " * 400
        sender = threading.Thread(target=ticking, args=(data, connection.socket, stop), daemon=True)
        sender.start()
        began = time.monotonic()
        reply = connection.read_reply()
        assert (reply.status, reply.json()) == (408, TOO_SLOW)
        assert reply.header("connection") == "close"
        assert connection.read_rest() == b""
        stop.set()
        assert time.monotonic() - began < 6


@pytest.mark.parametrize("fields", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_a_body_that_never_begins(strict: Server, counted: Callable[[str, int], None], fields: str) -> None:
    counted("slow_request", 1)
    with Connection(strict.port) as connection:
        connection.socket.sendall(head(fields))
        reply = connection.read_reply()
        assert (reply.status, reply.json()) == (408, TOO_SLOW)


@pytest.mark.parametrize("runner", [APP, GTHREAD])
def test_heads_that_never_end_hold_up_nobody(servers: ServerPool, runner: str) -> None:
    """More of them than the threaded worker has threads."""
    server = servers.get(*TINY, *INSTANT, "--request-read-timeout", "1", runner=runner)
    slow = [connect(server.port) for _ in range(520)]
    for connection in slow:
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost")
    assert server.post(CHAT, QUESTION).status == 200
    deadline = time.monotonic() + 15
    for connection in slow:
        connection.settimeout(max(0.1, deadline - time.monotonic()))
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""
        connection.close()


def test_a_reader_of_one_byte_a_second_is_dropped(strict: Server, counted: Callable[[str, int], None]) -> None:
    counted("slow_reader", 2)
    idle = strict.gauge("vllm:num_requests_running")
    body = {**QUESTION, "max_tokens": MANY_TOKENS, "ignore_eos": True}
    stuck = [connect_small(strict.port) for _ in range(2)]
    for connection, stream in zip(stuck, (True, False), strict=True):
        extra = {"stream": True} if stream else {"logprobs": True, "top_logprobs": 20, "max_tokens": 4000}
        connection.sendall(request_bytes("POST", CHAT, {**body, **extra}))
        connection.recv(1)
    assert strict.post(CHAT, QUESTION).status == 200
    deadline = time.monotonic() + 10
    while dropped(strict, "slow_reader") < 2:
        assert time.monotonic() < deadline
        for connection in stuck:
            connection.recv(1)
        time.sleep(0.2)
    assert strict.gauge("vllm:num_requests_running") == idle
    for connection in stuck:
        connection.close()


def connect_small(port: int) -> socket.socket:
    """A connection with a small buffer for what comes."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", port))
    return connection


MANY_LOGPROBS = {"max_tokens": 8000, "ignore_eos": True, "logprobs": True, "top_logprobs": 20}
DOUBLED = "root ::= r0\n" + "\n".join(f"r{i} ::= r{i + 1} r{i + 1}" for i in range(30)) + '\nr30 ::= "a"'
ONE_LONG_WORD = [{"role": "user", "content": "x" * 1_000_000}]


@pytest.mark.parametrize(
    ("runner", "heavy", "status"),
    [
        pytest.param(APP, MANY_LOGPROBS, 200, id="logprobs"),
        pytest.param(GTHREAD, MANY_LOGPROBS, 200, id="logprobs, gthread"),
        pytest.param(APP, {"structured_outputs": {"grammar": DOUBLED}}, 400, id="a grammar that grows"),
        pytest.param(APP, {"messages": ONE_LONG_WORD}, 400, id="a text that cannot be cut"),
    ],
)
def test_long_computations_let_the_others_have_their_turn(
    servers: ServerPool, runner: str, heavy: dict[str, Any], status: int
) -> None:
    """Tenths of a second of work in one request: otherwise hardly a probe would be answered meanwhile."""
    server = servers.get(*TINY[:-1], "80000", *INSTANT, runner=runner)
    replies = []
    worker = threading.Thread(target=lambda: replies.append(server.post(CHAT, {**QUESTION, **heavy})))
    with Connection(server.port) as probe:
        worker.start()
        answered = 0
        while worker.is_alive():
            probe.send("GET", "/ping")
            assert probe.read_reply().status == 200
            answered += 1
            time.sleep(0.005)
    assert replies[0].status == status
    assert answered > 8
