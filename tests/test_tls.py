"""HTTPS with both worker classes: streams, clients' certificates, new files without a restart, and bad ones."""

import contextlib
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from raw_http import END_OF_CHUNKS, connect, request_bytes
from server import APP, GTHREAD, INSTANT, ROOT, TINY, Server, clean_environment, start
from waiting_support import eventually

CHAT = "/v1/chat/completions"
RUNNERS = pytest.mark.parametrize("runner", [APP, GTHREAD])


def question(**parameters: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hi"}], "ignore_eos": True, "max_tokens": 3, **parameters}


def certify(folder: Path, name: str) -> None:
    """Makes NAME.pem and NAME.key, which trusts itself."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
    subprocess.run([*command.split(), *files], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("server", "client", "later"):
        certify(folder, name)
    return folder


def client(files: Path, trusts: str = "server", shows: str | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(files / f"{trusts}.pem"))
    if shows is not None:
        context.load_cert_chain(files / f"{shows}.pem", files / f"{shows}.key")
    return context


def exchange(port: int, context: ssl.SSLContext, request: bytes) -> bytes:
    """What the server answers until it closes; nothing while it does not listen yet."""
    try:
        with context.wrap_socket(connect(port), server_hostname="localhost") as connection:
            connection.sendall(request)
            answer = b""
            while data := connection.recv(65_536):
                answer += data
            return answer
    except ConnectionRefusedError:
        return b""


def get(path: str) -> bytes:
    return request_bytes("GET", path, headers={"Connection": "close"})


def wait_until_ready(server: Server, context: ssl.SSLContext) -> None:
    while b'{"status": "ready"}' not in exchange(server.port, context, get("/ready")):
        assert server.process.poll() is None, server.logged()
        time.sleep(0.05)


def secured(folder: Path, files: Path, *flags: str, runner: str, name: str = "server") -> Iterator[Server]:
    pair = ("--ssl-keyfile", str(files / f"{name}.key"), "--ssl-certfile", str(files / f"{name}.pem"))
    server = start(folder, (*TINY, *INSTANT[2:], *pair, *flags), runner=runner)
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def https(request: pytest.FixtureRequest, tmp_path: Path, files: Path) -> Iterator[Server]:
    """Shows the certificate `server`, wants one that `client` signed, and has a second until the first token."""
    flags = ("--ssl-ca-certs", str(files / "client.pem"), "--ssl-cert-reqs", "2", "--time-to-first-token", "30s")
    yield from secured(tmp_path, files, *flags, runner=request.param)


@pytest.mark.parametrize("https", [APP, GTHREAD], indirect=True)
def test_only_known_clients_are_served_and_their_leaving_is_noticed(https: Server, files: Path) -> None:
    known = client(files, shows="client")
    wait_until_ready(https, known)
    for stranger in (client(files), client(files, shows="later")):
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            exchange(https.port, stranger, get("/health"))

    def running() -> bool:
        return b'num_requests_running{engine="0",model_name="tiny"} 1.0' in exchange(https.port, known, get("/metrics"))

    for stream in (False, True):
        with known.wrap_socket(connect(https.port), server_hostname="localhost") as connection:
            connection.sendall(request_bytes("POST", CHAT, question(stream=stream)))
            eventually(running, 30)
            if stream:
                # Says farewell, which stays unread in the server's buffer.
                connection.settimeout(0)
                with contextlib.suppress(OSError):
                    connection.unwrap()
        eventually(lambda: not running(), 30)


@RUNNERS
def test_new_files_are_shown_without_a_restart(tmp_path: Path, files: Path, runner: str) -> None:
    for ending in ("pem", "key"):
        shutil.copy(files / f"server.{ending}", tmp_path / f"now.{ending}")
    for server in secured(tmp_path, tmp_path, "--enable-ssl-refresh", *INSTANT[:2], runner=runner, name="now"):
        wait_until_ready(server, client(files))
        for stream in (False, True):
            request = request_bytes("POST", CHAT, question(stream=stream), {"Connection": "close"})
            answer = exchange(server.port, client(files), request)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(END_OF_CHUNKS if stream else b"}")
            assert answer.count(b"data: {") == (4 if stream else 0)
        # A certificate without its key yet: the old pair stays.
        shutil.copy(files / "later.pem", tmp_path / "now.pem")
        assert b" 200 OK" in exchange(server.port, client(files), get("/health"))
        shutil.copy(files / "later.key", tmp_path / "now.key")
        assert b" 200 OK" in exchange(server.port, client(files, trusts="later"), get("/health"))
        with pytest.raises(ssl.SSLCertVerificationError):
            exchange(server.port, client(files), get("/health"))
        assert "the certificate stays what it was" in server.logged()
        assert "Traceback" not in server.logged()


@RUNNERS
def test_broken_handshakes_are_no_news(tmp_path: Path, files: Path, runner: str) -> None:
    for server in secured(tmp_path, files, *INSTANT[:2], runner=runner):
        wait_until_ready(server, client(files))
        for _ in range(5):
            with pytest.raises(ssl.SSLCertVerificationError):
                exchange(server.port, client(files, trusts="later"), get("/health"))
            for said in (b"", get("/health"), b"\x16\x03\x01"):
                with connect(server.port) as connection:
                    connection.sendall(said)
                    # Closing sends RST instead of FIN.
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert b" 200 OK" in exchange(server.port, client(files), get("/health"))
        # Two lines before; at most one for each of the twenty.
        assert len(server.logged().splitlines()) <= 22
        assert "Traceback" not in server.logged()


@pytest.fixture
def idle(tmp_path: Path, files: Path) -> Iterator[Server]:
    yield from secured(tmp_path, files, *INSTANT[:2], "--max-model-len", "9000", runner=APP)


def test_long_computations_let_the_others_have_their_turn(idle: Server, files: Path) -> None:
    context = client(files)
    wait_until_ready(idle, context)
    heavy = question(max_tokens=8000, logprobs=True, top_logprobs=20)
    request = request_bytes("POST", CHAT, heavy, {"Connection": "close"})
    answers: list[bytes] = []
    worker = threading.Thread(target=lambda: answers.append(exchange(idle.port, context, request)))
    with context.wrap_socket(connect(idle.port), server_hostname="localhost") as probe:
        worker.start()
        answered = 0
        while worker.is_alive():
            probe.sendall(request_bytes("GET", "/ping"))
            assert probe.recv(65_536).startswith(b"HTTP/1.1 200 OK")
            answered += 1
            time.sleep(0.005)
    assert answers[0].startswith(b"HTTP/1.1 200 OK")
    assert answered > 8


@RUNNERS
def test_handshakes_that_never_end(tmp_path: Path, files: Path, runner: str) -> None:
    for server in secured(tmp_path, files, "--request-read-timeout", "2", runner=runner):
        wait_until_ready(server, client(files))
        with connect(server.port) as silent:
            silent.sendall(b"\x16\x03")
            assert silent.recv(1) == b""
        page = exchange(server.port, client(files), get("/metrics"))
        assert b'vllm_mock:dropped_connections_total{reason="slow_request"} 1.0' in page
        assert "Traceback" not in server.logged()


@RUNNERS
def test_bad_files_end_the_start_with_one_line(tmp_path: Path, files: Path, runner: str) -> None:
    key, certificate = str(files / "server.key"), str(files / "server.pem")
    cases = (
        (("--ssl-keyfile", key), "--ssl-keyfile needs --ssl-certfile as well"),
        (("--ssl-keyfile", "/nowhere", "--ssl-certfile", certificate), "No such file or directory"),
        (("--ssl-keyfile", str(files / "later.key"), "--ssl-certfile", certificate), "--ssl-certfile, --ssl-keyfile: "),
        (("--ssl-keyfile", key, "--ssl-certfile", certificate, "--ssl-ca-certs", key), "--ssl-ca-certs: "),
        (("--ssl-keyfile", key, "--ssl-certfile", certificate, "--ssl-ciphers", "none"), "--ssl-ciphers: "),
    )
    chosen = cases if runner == APP else cases[:1]
    started = [start(tmp_path, (*TINY, *flags), runner=runner) for flags, _ in chosen]
    try:
        for server, (_, expected) in zip(started, chosen, strict=True):
            assert server.exit_code() == 2
            assert server.logged().startswith("error: ")
            assert expected in server.logged()
            assert server.logged().count("\n") == 1
    finally:
        for server in started:
            server.kill()


def test_an_encrypted_key_is_refused_instead_of_asking_for_its_password(tmp_path: Path, files: Path) -> None:
    command = f"openssl ec -in {files / 'server.key'} -aes256 -passout pass:secret -out locked.key"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    flags = ["--ssl-keyfile", str(tmp_path / "locked.key"), "--ssl-certfile", str(files / "server.pem")]
    done = subprocess.run(
        [sys.executable, "app.py", *flags, "--port", "0"],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: --ssl-certfile, --ssl-keyfile: ")
