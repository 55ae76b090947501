"""HTTP/1 on the wire, the same from our gevent worker and from gthread."""

import contextlib
import socket
import threading
import time
from typing import Any

import pytest
from raw_http import END_OF_CHUNKS, Connection, connect, request_bytes
from server import APP, GTHREAD, INSTANT, TINY, Server, ServerPool

CHAT = "/v1/chat/completions"
LONG = ("--max-model-len", "300000", "--num-gpu-blocks", "40000")


def question(**parameters: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hi"}], "ignore_eos": True, "max_tokens": 3, **parameters}


@pytest.fixture(params=[APP, GTHREAD])
def server(request: pytest.FixtureRequest, servers: ServerPool) -> Server:
    return servers.get(*TINY[:2], *LONG, *INSTANT, runner=request.param)


def read_to_end(connection: socket.socket) -> bytes:
    answer = b""
    while data := connection.recv(65_536):
        answer += data
    return answer


def raw_exchange(server: Server, request: bytes) -> tuple[bytes, bytes]:
    """(head, body) of what comes until the server closes."""
    with connect(server.port) as connection:
        connection.sendall(request)
        head, _, body = read_to_end(connection).partition(b"\r\n\r\n")
        return head, body


def with_version(version: bytes, body: dict[str, Any], *headers: bytes) -> bytes:
    request = request_bytes("POST", CHAT, body)
    line, _, rest = request.partition(b"\r\n")
    return line.replace(b"HTTP/1.1", version) + b"\r\n" + b"".join(header + b"\r\n" for header in headers) + rest


def test_http_1_0_gets_a_stream_without_chunks(server: Server) -> None:
    head, body = raw_exchange(server, with_version(b"HTTP/1.0", question(stream=True)))
    assert head.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert b"connection: close" in head.lower()
    assert body.startswith(b"data: {")
    assert body.endswith(b"\n\ndata: [DONE]\n\n")


def test_http_1_0_closes_unless_asked_to_stay(server: Server) -> None:
    head, body = raw_exchange(server, with_version(b"HTTP/1.0", question()))
    assert b"connection: close" in head.lower()
    assert f"content-length: {len(body)}".encode() in head.lower()
    with Connection(server.port) as connection:
        for _ in range(2):
            connection.socket.sendall(with_version(b"HTTP/1.0", question(), b"Connection: keep-alive"))
            reply = connection.read_reply()
            assert (reply.status, reply.header("connection")) == (200, "keep-alive")


@pytest.mark.parametrize("stream", [False, True])
def test_connection_close_is_honoured(server: Server, stream: bool) -> None:
    head, body = raw_exchange(server, with_version(b"HTTP/1.1", question(stream=stream), b"Connection: close"))
    assert b"connection: close" in head.lower()
    assert body.endswith(END_OF_CHUNKS if stream else b"}")


def test_ten_pipelined_requests_are_answered_in_order(server: Server) -> None:
    with Connection(server.port) as connection:
        requests = [
            request_bytes("POST", CHAT, question(max_tokens=number, stream=number % 2 == 0)) for number in range(1, 11)
        ]
        connection.socket.sendall(b"".join(requests))
        for number in range(1, 11):
            reply = connection.read_reply()
            if number % 2 == 0:
                # The role comes first.
                assert len(reply.chunks()) == number + 1
            else:
                assert reply.json()["usage"]["completion_tokens"] == number


def test_a_request_that_comes_byte_by_byte(server: Server) -> None:
    with Connection(server.port) as connection:
        for byte in request_bytes("POST", CHAT, question()):
            connection.socket.sendall(bytes((byte,)))
        assert connection.read_reply().json()["usage"]["completion_tokens"] == 3


def test_a_request_in_chunks(server: Server) -> None:
    body = b'{"messages":[{"role":"user","content":"hi"}],"max_tokens":2,"ignore_eos":true}'
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    with Connection(server.port) as connection:
        for _ in range(2):
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:10], body[10:]))
            connection.socket.sendall(head.encode() + chunks + b"0\r\n\r\n")
            assert connection.read_reply().json()["usage"]["completion_tokens"] == 2


def test_expect_100_continue(server: Server) -> None:
    head, _, body = request_bytes("POST", CHAT, question(), {"Expect": "100-continue"}).partition(b"\r\n\r\n")
    with Connection(server.port) as connection:
        connection.socket.sendall(head + b"\r\n\r\n")
        assert connection.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.socket.sendall(body)
        assert connection.read_reply().status == 200


def test_who_reads_late_gets_everything(server: Server) -> None:
    """More than the sockets' buffers hold; meanwhile others are served."""
    with Connection(server.port) as late:
        late.send("POST", CHAT, question(stream=True, max_tokens=60_000))
        time.sleep(0.3)
        before = time.monotonic()
        assert server.post(CHAT, question()).status == 200
        assert time.monotonic() - before < 5
        assert len(late.read_reply().chunks()) == 60_001


def test_a_client_that_never_pauses_lets_others_in(server: Server) -> None:
    """Its next request is always there already, since it pipelines them."""
    stop = threading.Event()
    request = request_bytes("POST", CHAT, question(max_tokens=1)) * 50

    def hurry() -> None:
        with Connection(server.port) as connection:
            while not stop.is_set():
                connection.socket.sendall(request)
                for _ in range(50):
                    connection.read_reply()

    thread = threading.Thread(target=hurry)
    thread.start()
    try:
        time.sleep(0.2)
        with Connection(server.port) as other:
            for _ in range(20):
                other.send("POST", CHAT, question())
                assert other.read_reply().status == 200
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("runner", [APP, GTHREAD])
@pytest.mark.parametrize("stream", [False, True])
def test_the_access_log_counts_the_bytes_of_the_body(servers: ServerPool, runner: str, stream: bool) -> None:
    server = servers.get(*TINY, "--inter-token-latency", "5ms", "--enable-access-log", runner=runner)
    reply = server.post(CHAT + f"?{stream}", question(stream=stream, max_tokens=20))
    deadline = time.monotonic() + 30
    # A line is written behind its answer.
    while not (lines := [line for line in server.logged().splitlines() if f"{CHAT}?{stream} " in line]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert f'" 200 {len(reply.body)} "' in lines[0]


def test_ten_clients_that_do_not_read_hold_up_nobody(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            deaf = stack.enter_context(Connection(server.port))
            deaf.send("POST", CHAT, question(stream=True, max_tokens=60_000))
        time.sleep(0.3)
        before = time.monotonic()
        assert len(server.post(CHAT, question(stream=True, max_tokens=100)).chunks()) == 101
        assert time.monotonic() - before < 5


def test_headers_of_two_requests_do_not_mix(server: Server) -> None:
    with Connection(server.port) as connection:
        connection.send("POST", "/v1/completions", {"prompt": "x", "max_tokens": 1}, {"X-Request-Id": "one"})
        assert connection.read_reply().json()["id"] == "cmpl-one"
        connection.send("POST", "/v1/completions", {"prompt": "x", "max_tokens": 1})
        assert connection.read_reply().json()["id"] != "cmpl-one"
