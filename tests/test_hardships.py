"""Workers that are killed, and machines that lack something: files to open, room on the disk, a home, rights."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from raw_http import Connection, collect_streams, connect, request_bytes
from server import APP, GUNICORN, INSTANT, ROOT, TINY, Server, clean_environment, command, free_port, start
from waiting_support import eventually

CHAT = "/v1/chat/completions"
QUESTION = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
NOBODY = 65_534


def running(server: Server) -> list[float]:
    """How many requests each rank runs."""
    lines = server.get("/metrics").body.decode().splitlines()
    return [float(line.split()[-1]) for line in lines if line.startswith("vllm:num_requests_running{")]


def test_streams_of_the_other_workers_survive_a_kill(launch: Callable[..., Server]) -> None:
    flags = (*TINY, "--data-parallel-size", "2", "--metrics-mode", "live", "--inter-token-latency", "25ms")
    server = launch(*flags)
    stream = {**QUESTION, "max_tokens": 100, "ignore_eos": True, "stream": True}
    connections = []
    while not connections or 0 in running(server) or len(running(server)) < 2:
        assert len(connections) < 60
        connections.append(Connection(server.port))
        connections[-1].socket.sendall(request_bytes("POST", CHAT, stream, {"Connection": "close"}))
        connections[-1].read_until(b'"content":"')
    os.kill(server.workers()[0], signal.SIGKILL)
    whole = [connection.read_rest().endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") for connection in connections]
    assert 0 < sum(whole) < len(whole)
    assert server.post(CHAT, QUESTION).status == 200
    eventually(lambda: len(server.workers()) == 2, 15)


def limited(files: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


def test_more_connections_than_files_may_be_open(tmp_path: Path) -> None:
    server = start(tmp_path, (*TINY, *INSTANT), preexec_fn=limited(80))
    try:
        server.wait_until_up()
        idle = [connect(server.port) for _ in range(100)]
        assert server.process.poll() is None
        for connection in idle:
            connection.close()
        [stream] = collect_streams(server.port, CHAT, [{**QUESTION, "stream": True}])
        assert stream.complete
        assert "Traceback" not in server.logged()
        assert len(server.logged().splitlines()) == 1
    finally:
        server.kill()


@pytest.mark.parametrize("runner", [APP, GUNICORN])
def test_hardly_any_file_may_be_open(runner: str) -> None:
    line, variables = command(runner, TINY, free_port())
    done = subprocess.run(
        line,
        cwd=ROOT,
        env=clean_environment(variables),
        preexec_fn=limited(40),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "error: a process may open 40 files (ulimit -n), at least 64 are needed\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_for_the_log(tmp_path: Path) -> None:
    server = start(tmp_path, (*TINY, *INSTANT, "--enable-access-log"), log=Path("/dev/full"))
    try:
        server.wait_until_up()
        for path in ("/v1/models", "/nowhere"):
            assert server.get(path).status in (200, 404)
        with Connection(server.port) as connection:
            connection.socket.sendall(b"broken\r\n\r\n")
            assert connection.read_reply().status == 400
        assert server.post(CHAT, QUESTION).status == 200
    finally:
        server.kill()


HOURS = 7200.0


def values(page: str) -> Iterator[tuple[str, float]]:
    """Name and value of each sample of a page of metrics."""
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            yield sample.name, sample.value


def test_a_clock_that_is_set_forth_and_back(tmp_path: Path) -> None:
    """Streams go on in their rhythm, half a request is still waited for, and no time that is measured is off."""
    clock = tmp_path / "offset"
    clock.write_text("0")
    environ = {"PYTHONPATH": str(ROOT / "tests/fixtures/set_clock"), "CLOCK_OFFSET": str(clock)}
    latencies = ("--time-to-first-token", "50ms", "--inter-token-latency", "20ms", "--metrics-mode", "live")
    server = start(tmp_path, (*TINY, *latencies), environ)
    stream = {**QUESTION, "max_tokens": 60, "ignore_eos": True, "stream": True}

    def set_clock() -> None:
        for offset in (HOURS, -HOURS, 0.0, -HOURS, HOURS):
            time.sleep(0.25)
            clock.write_text(str(offset))

    try:
        server.wait_until_up()
        assert server.post("/set_metrics", {"waiting": "ramp:1:100:3600s"}).status == 200
        setter = threading.Thread(target=set_clock)
        with Connection(server.port) as slow:
            request = request_bytes("POST", CHAT, QUESTION)
            slow.socket.sendall(request[:-5])
            setter.start()
            streams = collect_streams(server.port, CHAT, [stream] * 5, stagger=0.1)
            setter.join()
            slow.socket.sendall(request[-5:])
            assert slow.read_reply().status == 200
        assert all(stream.complete for stream in streams)
        seen = list(values(server.get("/metrics").body.decode()))
        assert not [name for name, value in seen if value < 0 or value != value]
        seconds = {name: value for name, value in seen if name.endswith("_seconds_sum")}
        assert {"vllm:time_to_first_token_seconds_sum", "vllm:e2e_request_latency_seconds_sum"} <= seconds.keys()
        assert max(seconds.values()) < HOURS / 2
        assert 1 <= server.gauge("vllm:num_requests_waiting") < 50
        assert "Traceback" not in server.logged()
    finally:
        server.kill()


def as_nobody() -> list[str]:
    """How a command is run without rights; empty where that cannot be done."""
    setpriv = shutil.which("setpriv")
    if setpriv is None or os.geteuid() != 0:
        return []
    prefix = [setpriv, "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
    reads = [sys.executable, "-c", "import gunicorn, vllm_mock"]
    readable = subprocess.run([*prefix, *reads], cwd=ROOT, capture_output=True, check=False)
    return [] if readable.returncode else prefix


def test_a_user_without_home_who_may_write_nowhere(tmp_path: Path) -> None:
    prefix = as_nobody()
    if not prefix:
        pytest.skip("needs root, setpriv and a clone that everybody may read")
    port = free_port()
    environ = {"PATH": os.environ["PATH"], "STANDALONE_MODE": "true", "SERVER_PORT": str(port)}
    with (tmp_path / "log").open("wb") as log:
        line = [*prefix, sys.executable, "app.py", *TINY, *INSTANT]
        process = subprocess.Popen(line, cwd=ROOT, env=environ, stdout=log, stderr=log, start_new_session=True)
    server = Server(process, port, tmp_path / "log")
    try:
        server.wait_until_up()
        assert server.post(CHAT, QUESTION).status == 200
        assert server.post("/set_metrics", {"waiting": 3}).status == 200
        assert len(server.logged().splitlines()) == 1
    finally:
        server.kill()


def test_clients_of_http_1_0(tiny: Server) -> None:
    """HTTP/1.0 gets an answer whose end is the end of the connection, streams too."""
    for stream, end in ((False, b"}"), (True, b"data: [DONE]\n\n")):
        request = request_bytes("POST", CHAT, {**QUESTION, "stream": stream}).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        with Connection(tiny.port) as connection:
            connection.socket.sendall(request)
            answer = connection.read_rest()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 200 OK")
        assert b"chunked" not in head
        assert body.endswith(end)


def test_many_pipelined_requests_come_back_in_order(tiny: Server) -> None:
    count = 200
    with Connection(tiny.port) as connection:
        requests = b"".join(request_bytes("POST", "/tokenize", {"prompt": "x" * n}) for n in range(1, count + 1))
        sender = threading.Thread(target=connection.socket.sendall, args=(requests,))
        sender.start()
        counts = [connection.read_reply().json()["count"] for _ in range(count)]
        sender.join()
    assert counts == list(range(1, count + 1))
