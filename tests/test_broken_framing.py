"""Bodies whose framing is wrong: uvicorn's answer to what is no HTTP, once, and the connection closes."""

import time
from typing import Any

import pytest
from raw_http import Connection, connect
from server import APP, GTHREAD, INSTANT, TINY, Server, ServerPool

QUESTION = b'{"prompt":"hi","max_tokens":1}'
CHUNK = b"%x\r\n%b\r\n" % (len(QUESTION), QUESTION)
END = b"0\r\n\r\n"
NEXT = b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n"
BROKEN_CHUNKS = (
    *(b"xyz\r\n" + QUESTION, b"\r\n" + QUESTION, b"-5\r\n" + QUESTION, b"+5\r\n" + QUESTION, b"0x5\r\n" + QUESTION),
    *(b"1_0\r\n" + QUESTION, b" 5\r\n" + QUESTION, b"5 \r\n" + QUESTION, CHUNK.replace(b"\r\n", b"\n")),
    *(b"%x\r\n" % len(QUESTION) + QUESTION + END, b"%x;\r\n" % len(QUESTION) + QUESTION, b"5;a=\0\r\nabcde\r\n"),
    *(b"5;a=" + b"x" * 100_000, b"0" * 100_000 + CHUNK),
    *(CHUNK + b"0\r\n" + trailer + b"\r\n\r\n" for trailer in (b"no colon", b"Content-Length: 5", b"a b: c", b" a: b")),
    *(CHUNK + b"0\r\nX: " + b"x" * 200_000, CHUNK + b"0\r\n" + b"X: y\r\n" * 50_000),
)
PATHS = ("/v1/completions", "/v1/messages", "/v1/embeddings", "/tokenize", "/mock/faults", "/v1/audio/transcriptions")
FORM = b"Content-Type: multipart/form-data; boundary=b\r\n"


@pytest.fixture(params=[APP, GTHREAD])
def server(request: pytest.FixtureRequest, servers: ServerPool) -> Server:
    return servers.get(*TINY, *INSTANT, runner=request.param)


def head(path: str, fields: bytes = b"Transfer-Encoding: chunked\r\n") -> bytes:
    kind = FORM if path.endswith("transcriptions") else b"Content-Type: application/json\r\n"
    return b"POST %b HTTP/1.1\r\nHost: a\r\n%b%b\r\n" % (path.encode(), kind, fields)


def answered(server: Server, data: bytes) -> tuple[list[int], bytes]:
    """The status of each answer, and the body of the last; the server must close soon."""
    with Connection(server.port) as connection:
        connection.socket.settimeout(10)
        connection.socket.sendall(data)
        statuses, body = [], b""
        while True:
            try:
                reply = connection.read_reply()
            except EOFError:
                return statuses, body
            statuses.append(reply.status)
            body = reply.body


@pytest.mark.parametrize("path", PATHS)
def test_broken_chunks(server: Server, path: str) -> None:
    for broken in BROKEN_CHUNKS if path == PATHS[0] else BROKEN_CHUNKS[:2] + BROKEN_CHUNKS[-3:-1]:
        told = answered(server, head(path) + broken + NEXT)
        assert told == ([400], b"Invalid HTTP request received."), broken[:60]
    assert server.post("/tokenize", {"prompt": "x"}).status == 200


def test_broken_chunks_that_nobody_reads_get_no_second_answer(server: Server) -> None:
    for method, path, status in ((b"POST", b"/nowhere", 404), (b"GET", b"/version", 200), (b"PUT", b"/v1/models", 405)):
        line = b"%b %b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" % (method, path)
        assert answered(server, line + BROKEN_CHUNKS[0] + NEXT)[0] == [status]


def test_right_chunks(server: Server) -> None:
    extended = CHUNK.replace(b"\r\n", b';a=b;c="d e"\r\n', 1) + b"0\r\nX-Checksum: 1\r\n\r\n"
    single = b"".join(b"1\r\n%c\r\n" % byte for byte in QUESTION) + END
    for chunks in (CHUNK + END, extended, single):
        with Connection(server.port) as connection:
            connection.socket.sendall(head(PATHS[0]) + chunks + NEXT)
            assert [connection.read_reply().status for _ in range(2)] == [200, 200]


def test_a_chunk_that_could_never_be_taken_is_refused_at_once(server: Server) -> None:
    began = time.monotonic()
    assert answered(server, head(PATHS[0]) + b"f" * 40 + b"\r\n")[0] == [413]
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    "sent", [b"Content-Length: 99\r\n\r\n" + QUESTION, b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK]
)
def test_half_a_body_is_no_request(server: Server, sent: bytes) -> None:
    """Though what has come is JSON: the client said that there would be more."""
    with connect(server.port) as connection:
        connection.sendall(head(PATHS[0], b"")[:-2] + sent)
        connection.shutdown(1)
        answer = b""
        while data := connection.recv(65_536):
            answer += data
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    assert "Traceback" not in server.logged()


@pytest.mark.parametrize(
    ("value", "status"),
    [*((value, 400) for value in ("+2", "0x2", "1e1", "2, 2", "", "-2", "\xb2", "9" * 5000)), ("9" * 30, 413)],
)
def test_lengths_that_are_none(server: Server, value: Any, status: int) -> None:
    fields = f"Content-Length: {value}\r\n".encode("latin-1")
    assert answered(server, head(PATHS[0], fields) + QUESTION + NEXT)[0] == [status]


def test_other_versions_and_words_for_close(server: Server) -> None:
    assert answered(server, NEXT.replace(b"1.1", b"1.2", 1) + NEXT)[0] == [400]
    for value in (b"Keep-Alive, Close", b"x,close", b"close , x"):
        asked = NEXT[:-2] + b"Connection: " + value + b"\r\n\r\n"
        assert answered(server, asked + NEXT)[0] == [200], value
