"""Runs the real server as a subprocess, the way a user starts it, for the tests that speak HTTP to it."""

import contextlib
import http.client
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
from raw_http import Reply, exchange

ROOT = Path(__file__).resolve().parents[1]
CHAR_TOKENIZER = "tests/fixtures/char_tokenizer"
# One character is one token, as in the captures; nothing to wait for.
TINY = ("--tokenizer", CHAR_TOKENIZER, "--served-model-name", "tiny", "alias2", "--max-model-len", "256")
INSTANT = ("--time-to-first-token", "0", "--inter-token-latency", "0", "--prefill-time-per-token", "0")
# With everything that an operator may put around the routes.
GUARDED = (
    *(*TINY, *INSTANT, "--api-key", "k1", "k2", "--root-path", "/proxy", "--enable-request-id-headers"),
    *("--allowed-origins", '["http://a.example"]'),
)
APP = "app"
GUNICORN = "gunicorn"
GTHREAD = "gthread"
WERKZEUG = "werkzeug"

POD = {"POD_NAME": "pod-under-test", "POD_NAMESPACE": "tests"}
# What would change the server under test if the developer's shell has it set.
FOREIGN_PREFIXES = ("VLLM_", "MOCK_", "GUNICORN_", "SERVER_", "MODEL_", "POD_", "DEPLOYMENT_", "PROMETHEUS_")
FOREIGN_NAMES = (
    "PYTHONHASHSEED",
    "MY_POD_IP",
    "SIMULATION",
    "LLM_ENGINE",
    "METRICS_OVERRIDES",
    "DEFAULT_REPLICAS",
    "HF_TOKEN",
    "STANDALONE_MODE",
)
START_SECONDS = 90.0


def clean_environment(extra: Mapping[str, str] = {}) -> dict[str, str]:
    """The environment of a server under test: this one without what configures a server, plus `extra`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(FOREIGN_PREFIXES) and name not in FOREIGN_NAMES
    }
    return {**kept, "STANDALONE_MODE": "true", **POD, **extra}


def free_port() -> int:
    """A port nobody listens on, below the range from which the kernel takes ports of outgoing connections."""
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


def command(runner: str, flags: Sequence[str], port: int) -> tuple[list[str], dict[str, str]]:
    """How a runner is started: its command line and the environment variables that carry what is not on it.

    It may also be the path of a script that takes the flags of app.py.
    """
    variables = {"SERVER_PORT": str(port)}
    if runner == APP:
        return [sys.executable, "app.py", *flags], variables
    if runner == WERKZEUG:
        without_gunicorn = str(ROOT / "tests/fixtures/without_gunicorn")
        return [sys.executable, "app.py", *flags], {**variables, "PYTHONPATH": without_gunicorn}
    if runner.endswith(".py"):
        return [sys.executable, runner, *flags], {**variables, "PYTHONPATH": str(ROOT)}
    workers = ["-k", "gthread", "--threads", "512"] if runner == GTHREAD else []
    return [sys.executable, "-m", "gunicorn", "wsgi:app", *workers], {**variables, "VLLM_MOCK_ARGS": shlex.join(flags)}


@dataclass
class Server:
    """A running server; `log` holds its standard output and standard error."""

    process: subprocess.Popen
    port: int
    log: Path

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] = {}, timeout: float = 30.0
    ) -> Reply:
        """One exchange on a connection of its own; a `body` that is no bytes is sent as JSON."""
        return exchange(self.port, method, path, body, headers, timeout)

    def get(self, path: str, headers: Mapping[str, str] = {}) -> Reply:
        return self.request("GET", path, None, headers)

    def post(self, path: str, body: object, headers: Mapping[str, str] = {}) -> Reply:
        return self.request("POST", path, body, headers)

    def openai(self) -> openai.OpenAI:
        """The official SDK, which asks this server once and no second time."""
        return openai.OpenAI(base_url=f"{self.base_url}/v1", api_key="none", max_retries=0, timeout=30)

    def logged(self) -> str:
        """Everything the server has printed so far."""
        return self.log.read_text(errors="replace")

    def gauge(self, name: str, **labels: str) -> float:
        """The sum of a family's samples that are exposed under exactly this name and have these labels."""
        text = self.get("/metrics").body.decode()
        lines = [line for line in text.splitlines() if line.partition("{")[0].partition(" ")[0] == name]
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(float(line.rpartition(" ")[2]) for line in lines if all(pair in line for pair in wanted))

    def wait_until_up(self, path: str = "/ready") -> None:
        """Returns when `path` answers 200; raises RuntimeError when the process ends or takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}:\n{self.logged()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.request("GET", path, timeout=5).status == 200:
                    return
            time.sleep(0.02)
        raise RuntimeError(f"no 200 from {path} within {START_SECONDS} s:\n{self.logged()}")

    def workers(self) -> list[int]:
        """The process ids of its workers."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def signal(self, number: int) -> None:
        """Send a signal to the process that was started, as an operator or a container runtime does."""
        self.process.send_signal(number)

    def exit_code(self, timeout: float = 20.0) -> int:
        """Wait for the end of the process, at most `timeout` seconds."""
        return self.process.wait(timeout)

    def kill(self) -> None:
        """End the process and its workers at once. Each server leads a process group of its own."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def start(
    folder: Path,
    flags: tuple[str, ...] = (),
    environ: Mapping[str, str] = {},
    runner: str = APP,
    log: Path | None = None,
    **options: Any,
) -> Server:
    """Start a server without waiting for it; the log goes to `log`, or to a new file in `folder`.

    `options` are those of subprocess.Popen.
    """
    port = free_port()
    line, variables = command(runner, flags, port)
    log = log or folder / f"server-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            line,
            cwd=ROOT,
            env=clean_environment({**variables, **environ}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **options,
        )
    return Server(process, port, log)


@contextlib.contextmanager
def running(
    folder: Path, flags: tuple[str, ...] = (), environ: Mapping[str, str] = {}, runner: str = APP
) -> Iterator[Server]:
    """A server that answers, and that is gone afterwards whatever the test did to it."""
    server = start(folder, flags, environ, runner)
    try:
        server.wait_until_up()
        yield server
    finally:
        server.kill()


class ServerPool:
    """Servers that tests share: one per set of flags, started at its first use, killed at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._servers: dict[object, Server] = {}

    def get(self, *flags: str, environ: Mapping[str, str] = {}, runner: str = APP) -> Server:
        """The server with these flags, which answers /ready with 200."""
        key = (flags, tuple(sorted(environ.items())), runner)
        if key not in self._servers:
            server = self._servers[key] = start(self._folder, flags, environ, runner)
            server.wait_until_up()
        return self._servers[key]

    def close(self) -> None:
        """Kill them all, then complain about those that logged an exception while they served."""
        for server in self._servers.values():
            server.kill()
        faults = [server.logged() for server in self._servers.values() if "Traceback" in server.logged()]
        assert not faults, "\n".join(faults)
