"""Starts and stops the server under test, on a core of its own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from processes import FIRST, family, favour_session

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
# What the server printed last, for a look when it fails.
LOG = RESULTS / "server.log"
READY_TIMEOUT_SECONDS = 60.0
FOREIGN_PREFIXES = ("VLLM_", "MOCK_", "GUNICORN_", "SIMULATION", "METRICS_OVERRIDES", "PYTHONDONTWRITEBYTECODE")
STOP_TIMEOUT_SECONDS = 5.0
# Its stream is left at its first bytes.
FIRST_CHAT = {"model": "bench", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1, "stream": True}


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cores() -> tuple[int, int]:
    """(server's core, client's core); the same when there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def get(path: str) -> bytes:
    """A GET request whose connection is not kept."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()


def http_request(path: str, body: dict[str, Any], fields: str = "") -> bytes:
    """A whole POST request with a JSON body; `fields` are further lines of its head."""
    payload = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(payload)}\r\n{fields}\r\n"
    )
    return head.encode() + payload


def server_environment() -> dict[str, str]:
    """This environment without what would change the server, or make it compile its modules at each start."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_PREFIXES)}
    return {**kept, "STANDALONE_MODE": "true"}


class Server:
    """`python app.py FLAGS` on one core, or on those given; a context manager.

    `health_seconds` and `ready_seconds`: from the start of the process to the first 200 of /health and /ready. A
    `python` of its own is for other projects' servers, which are ready when they begin to answer a chat request.
    `gunicorn` holds more flags of gunicorn.
    """

    def __init__(
        self,
        flags: list[str],
        root: Path = ROOT,
        python: str | None = None,
        on: set[int] | None = None,
        gunicorn: str = "",
    ) -> None:
        self._flags = flags
        self._root = root
        self._python = python
        self._cores = on or {cores()[0]}
        self._gunicorn = gunicorn
        self.port = free_port()
        self.health_seconds = self.ready_seconds = 0.0

    def __enter__(self) -> "Server":
        environ = {**server_environment(), "GUNICORN_CMD_ARGS": self._gunicorn}
        RESULTS.mkdir(exist_ok=True)
        begin = time.monotonic()
        arguments = ["--host", "127.0.0.1", "--port", str(self.port), *self._flags]
        with LOG.open("wb") as log:
            self._process = subprocess.Popen(
                [self._python or sys.executable, "app.py", *arguments],
                cwd=self._root,
                env=environ,
                stdout=log,
                stderr=log,
                preexec_fn=self._settle,
                start_new_session=True,
            )
        try:
            if self._python is None:
                self.health_seconds = self._wait_for(get("/health"), begin) - begin
                self.ready_seconds = self._wait_for(get("/ready"), begin) - begin
            else:
                self._wait_for(http_request("/v1/chat/completions", FIRST_CHAT), begin, pause=0.1)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _settle(self) -> None:
        """In the new process: its cores, and the precedence of the benchmark."""
        os.sched_setaffinity(0, self._cores)
        if os.getpriority(os.PRIO_PROCESS, 0) == FIRST:
            favour_session()

    @property
    def pids(self) -> list[int]:
        """The master and its workers."""
        return family(self._process.pid)

    def _wait_for(self, request: bytes, begin: float, pause: float = 0.002) -> float:
        """Ask every `pause` seconds until the answer is 200; returns the time of that answer."""
        while not self._answers(request):
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended with {self._process.returncode}: {LOG.read_text()}")
            if time.monotonic() > begin + READY_TIMEOUT_SECONDS:
                raise TimeoutError(f"no 200 within {READY_TIMEOUT_SECONDS:g} s of {request.splitlines()[0].decode()}")
            time.sleep(pause)
        return time.monotonic()

    def _answers(self, request: bytes) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2.0) as probe:
                probe.sendall(request)
                return probe.recv(64).startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    def _stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            # The server leads a session of its own, so this reaches it and its workers only.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
