"""Runs the load client beside a server and reads the server's CPU time over the same window."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from processes import core_busy_seconds, cpu_seconds
from server import RESULTS, Server, cores, http_request

HERE = Path(__file__).resolve().parent


@dataclass(slots=True)
class Load:
    """A load: durations in seconds, the expected gap between tokens in milliseconds (0: no stream)."""

    connections: int
    request: dict[str, Any]
    ramp: float
    warm: float
    measure: float
    interval_ms: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it takes in all."""
        return self.ramp + self.warm + self.measure


@lru_cache(maxsize=1)
def client_command() -> tuple[str, ...]:
    """The C client, compiled when its source is newer than the program; the Python one without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or os.environ.get("BENCHMARK_CLIENT") == "python":
        return (sys.executable, str(HERE / "load_client.py"))
    source, program = HERE / "load.c", RESULTS / "load"
    RESULTS.mkdir(exist_ok=True)
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        subprocess.run([compiler, "-O2", "-o", str(program), str(source), "-lm"], check=True)
    return (str(program),)


def run_load(server: Server, load: Load, path: str = "/v1/chat/completions") -> dict[str, Any]:
    """The client's figures, with `server_cpu` (seconds) and `other_cpu` (others' share of the server's core)."""
    arguments = [server.port, load.connections, load.ramp, load.warm, load.measure, load.interval_ms]
    server_core, client_core = cores()
    process = subprocess.Popen(
        [*client_command(), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, {client_core}),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(http_request(path, load.request))
    process.stdin.close()
    _expect(process, b"start\n")
    cpu, busy = cpu_seconds(server.pids), core_busy_seconds(server_core)
    _expect(process, b"end\n")
    cpu, busy = cpu_seconds(server.pids) - cpu, core_busy_seconds(server_core) - busy
    figures = json.loads(process.stdout.read())
    process.wait()
    figures["server_cpu"] = cpu
    figures["other_cpu"] = max(0.0, busy - cpu) / figures["seconds"]
    return figures


def _expect(process: subprocess.Popen, word: bytes) -> None:
    assert process.stdout is not None
    line = process.stdout.readline()
    if line != word:
        process.kill()
        process.wait()
        raise RuntimeError(f"the load client said {line!r} instead of {word!r}")
