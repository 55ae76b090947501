"""The load clients of benchmarks/ count what a server sends, whichever of the two runs."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
TOKENS = 7
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
TOKEN = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n" + b"x" * 12


def chunk(data: bytes) -> bytes:
    return b"%X\r\n%b\r\n" % (len(data), data)


STREAM = HEAD + chunk(ROLE + TOKEN) + chunk(TOKEN) * (TOKENS - 1) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def answer(connection: socket.socket, response: bytes, piece: int, answered: list[int]) -> None:
    """Answer each request with `response`, `piece` bytes a write."""
    # The client resets its connections when its window is over.
    with connection, contextlib.suppress(ConnectionError):
        while connection.recv(65536):
            # Before the client can count it.
            answered[0] += 1
            for start in range(0, len(response), piece):
                connection.sendall(response[start : start + piece])


# The C client is compiled where the benchmarks run; without a compiler they take the other one.
CLIENTS = ["c", "python"] if shutil.which("cc") else ["python"]


@pytest.fixture(params=CLIENTS, scope="module")
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command line of a load client."""
    if request.param == "python":
        return [sys.executable, str(BENCHMARKS / "load_client.py")]
    program = tmp_path_factory.mktemp("client") / "load"
    subprocess.run(["cc", "-O1", "-o", str(program), str(BENCHMARKS / "load.c"), "-lm"], check=True)
    return [str(program)]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def load(client: list[str], listener: socket.socket, response: bytes, piece: int) -> tuple[dict, int]:
    """(the client's figures, how many requests were answered) of two connections over half a second."""
    answered = [0]

    def serve() -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=answer, args=(connection, response, piece, answered), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    arguments = [str(listener.getsockname()[1]), "2", "0", "0", "0.5", "20"]
    request = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
    ended = subprocess.run([*client, *arguments], input=request, capture_output=True, timeout=30, check=True)
    start, end, figures = ended.stdout.decode().splitlines()
    assert (start, end) == ("start", "end")
    return json.loads(figures), answered[0]


@pytest.mark.parametrize("piece", [5, 64, 10_000])
def test_tokens_are_counted_however_the_stream_is_cut(client: list[str], listener: socket.socket, piece: int) -> None:
    figures, answered = load(client, listener, STREAM, piece)
    assert figures["errors"] == figures["starved"] == 0
    assert 0 < figures["completed"] <= answered
    # At the end of the window a response of each connection may be under way.
    extra = figures["tokens"] - TOKENS * figures["completed"]
    assert 0 <= extra <= 2 * TOKENS


def test_whole_answers_are_counted(client: list[str], listener: socket.socket) -> None:
    figures, answered = load(client, listener, WHOLE, len(WHOLE))
    assert figures["errors"] == figures["tokens"] == 0
    assert 0 < figures["completed"] <= answered
    assert figures["latency"]["p50"] <= figures["latency"]["p99"]


def test_refusals_are_errors(client: list[str], listener: socket.socket) -> None:
    refusal = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
    arguments = [str(listener.getsockname()[1]), "1", "0", "0", "0.2", "20"]

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.recv(65536)
            connection.sendall(refusal)
            connection.close()

    threading.Thread(target=serve, daemon=True).start()
    ended = subprocess.run([*client, *arguments], input=b"GET / HTTP/1.1\r\n\r\n", capture_output=True, timeout=30)
    figures = json.loads(ended.stdout.decode().splitlines()[-1])
    assert figures["completed"] == 0
    assert figures["errors"] > 0
