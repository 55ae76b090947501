"""How the server is started: settings from every source, what it prints, and how it refuses to start."""

import json
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from raw_http import collect_streams
from server import (
    APP,
    GTHREAD,
    GUNICORN,
    INSTANT,
    ROOT,
    TINY,
    WERKZEUG,
    Server,
    ServerPool,
    clean_environment,
    command,
    free_port,
    start,
)

CHAT = "/v1/chat/completions"
QUESTION = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4, "ignore_eos": True}
Launch = Callable[..., Server]


def run_to_end(*flags: str, environ: Mapping[str, str] = {}, runner: str = APP) -> subprocess.CompletedProcess:
    """Start a server that should refuse to."""
    line, variables = command(runner, flags, free_port())
    environment = clean_environment({**variables, **environ})
    return subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30)


def check_refusal(ended: subprocess.CompletedProcess, *named: str) -> None:
    """Exit code 2 and one line on standard error that names what is wrong."""
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: ")
    assert all(name in line for name in named), line


# ---- Refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--max-model-lenn", "4k"], ["--max-model-lenn", "--max-model-len"]),
        (["--time-to-first-tokens", "1"], ["--time-to-first-tokens", "--time-to-first-token"]),
        (["--max-num-seqs", "0"], ["--max-num-seqs", "0"]),
        (["--max-num-seqs", "many"], ["--max-num-seqs", "many"]),
        (["--port", "70000"], ["--port", "70000"]),
        (["--inter-token-latency", "-1ms"], ["--inter-token-latency", "-1ms"]),
        (["--mode", "loud"], ["--mode", "loud", "random", "echo"]),
        (["--uds", "/no/such/folder/mock.sock"], ["--uds", "/no/such/folder/mock.sock"]),
        (["--uds", "README.md"], ["--uds", "README.md"]),
        (["--host", "192.0.2.1"], ["--host", "192.0.2.1"]),
        (["--config", "/no/such/file.yaml"], ["/no/such/file.yaml"]),
    ],
)
def test_bad_flags(flags: list[str], named: list[str]) -> None:
    check_refusal(run_to_end(*flags), *named)


@pytest.mark.parametrize(
    ("name", "value"),
    [("MOCK_DECODE_SECONDS_PER_TOKEN", "quick"), ("DEFAULT_REPLICAS", "-3"), ("SERVER_PORT", "http")],
)
def test_bad_environment_variables(name: str, value: str) -> None:
    check_refusal(run_to_end(environ={name: value}), name, value)


def test_bad_yaml_keys(tmp_path: Path) -> None:
    config = tmp_path / "mock.yaml"
    config.write_text("max-num-seqz: 3\n")
    check_refusal(run_to_end("--config", str(config)), "max-num-seqz", "max-num-seqs")


@pytest.mark.parametrize("runner", [APP, GUNICORN, WERKZEUG])
@pytest.mark.parametrize(
    ("flags", "environ", "named"),
    [
        (["--tokenizer", "/no/such/folder"], {}, ["--tokenizer", "/no/such/folder"]),
        ([], {"METRICS_OVERRIDES": '{"runing": 1}'}, ["METRICS_OVERRIDES", "runing", "running"]),
        ([], {"SIMULATION": "abacus"}, ["SIMULATION", "abacus", "a100"]),
    ],
)
def test_what_only_a_worker_can_judge(runner: str, flags: list[str], environ: dict[str, str], named: list[str]) -> None:
    ended = run_to_end(*flags, environ=environ, runner=runner)
    ended.stderr = "".join(line for line in ended.stderr.splitlines(True) if not line.startswith("warning: gunicorn"))
    check_refusal(ended, *named)


@pytest.mark.parametrize("runner", [APP, GUNICORN])
def test_one_of_several_workers_says_why(runner: str) -> None:
    flags = ["--data-parallel-size", "4", "--dtype", "bfloat16", "--tokenizer", "/no/such/folder"]
    check_refusal(run_to_end(*flags, runner=runner), "/no/such/folder")


def test_where_nothing_is_installed() -> None:
    line = [sys.executable, "-S", "app.py"]
    ended = subprocess.run(line, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=30)
    check_refusal(ended, "flask", "pip install -r requirements.txt")


def test_a_folder_that_holds_no_tokenizer() -> None:
    check_refusal(run_to_end("--tokenizer", "tests"), "--tokenizer", "tests")


def test_an_address_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        check_refusal(run_to_end("--host", "127.0.0.1", "--port", port), "--port", port, "in use")


def test_help_may_be_cut_short() -> None:
    line = f"{shlex.quote(sys.executable)} app.py --help | head -1"
    ended = subprocess.run(line, shell=True, cwd=ROOT, env=clean_environment(), capture_output=True, text=True)
    assert ended.stderr == ""
    assert ended.stdout.startswith("usage: ")


@pytest.mark.parametrize("flags", [["--max-num-seqs", "0"], ["--nope"]])
def test_gunicorn_refuses_in_the_same_words(flags: list[str]) -> None:
    by_app, by_gunicorn = run_to_end(*flags), run_to_end(*flags, runner=GUNICORN)
    assert by_gunicorn.returncode == 2
    assert by_gunicorn.stderr == by_app.stderr


# ---- Sources of settings ------------------------------------------------------------------------------------


def test_the_environment_names_model_and_pod(launch: Launch) -> None:
    """Outside Kubernetes a server runs stand-alone even if nobody says so."""
    server = launch(environ={"MODEL_NAME": "env-model", "POD_NAME": "pod-7", "STANDALONE_MODE": ""})
    assert [card["id"] for card in server.get("/v1/models").json()["data"]] == ["env-model"]
    text = server.post(CHAT, {**QUESTION, "max_tokens": 60, "seed": 1}).json()["choices"][0]["message"]["content"]
    assert "env-model" in text
    assert "pod-7" in text


def test_the_defaults_are_those_of_the_readme(servers: ServerPool) -> None:
    card = servers.get(*INSTANT).get("/v1/models").json()["data"][0]
    assert (card["id"], card["root"], card["max_model_len"]) == ("llama2-7b", "llama2-7b", 16384)


def test_the_port_flag_wins_over_the_environment(tmp_path: Path) -> None:
    port = free_port()
    server = start(tmp_path, ("--port", str(port)))
    try:
        assert server.port != port
        server.port = port
        server.wait_until_up()
    finally:
        server.kill()


def test_the_command_line_wins(launch: Launch, tmp_path: Path) -> None:
    config = tmp_path / "mock.yaml"
    config.write_text("served-model-name: [from-yaml, second]\nmax-model-len: 4k\n")
    server = launch(
        *("positional/model", "--config", str(config), "--served_model_name=from-flag"),
        environ={"MODEL_NAME": "from-env"},
    )
    (card,) = server.get("/v1/models").json()["data"]
    assert (card["id"], card["root"], card["max_model_len"]) == ("from-flag", "positional/model", 4000)


@pytest.mark.parametrize("runner", [GUNICORN, GTHREAD])
def test_gunicorn_takes_flags_from_the_environment(launch: Launch, runner: str) -> None:
    server = launch(*TINY, "--chat-template", "{{ messages[0]['content'] }} and 'quotes'", runner=runner)
    assert [card["id"] for card in server.get("/v1/models").json()["data"]] == ["tiny", "alias2"]
    assert server.post(CHAT, QUESTION).json()["usage"]["prompt_tokens"] == len("hi and 'quotes'")


def test_any_model_name_if_validation_is_off(launch: Launch) -> None:
    flags = (*TINY, *INSTANT, "--metrics-mode", "live")
    server = launch(*flags, environ={"VLLM_SKIP_MODEL_NAME_VALIDATION": "1"})
    for stream in (False, True):
        reply = server.post(CHAT, {**QUESTION, "model": "some/other", "stream": stream})
        assert b'"model":"some/other"' in reply.body
    page = server.get("/metrics").body.decode()
    assert 'vllm:generation_tokens_total{engine="0",model_name="tiny"} 8.0' in page
    assert "some/other" not in page


# ---- What start-up prints -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("runner", "workers"), [(APP, "1"), (GUNICORN, "3")])
def test_one_line_says_what_runs(launch: Launch, runner: str, workers: str) -> None:
    latencies = ("--time-to-first-token", "120ms", "--inter-token-latency", "750us")
    flags = (*TINY, *latencies, "--data-parallel-size", workers, "--metrics-mode", "live")
    server = launch(*flags, runner=runner)
    (line,) = server.logged().splitlines()
    for part in ("tiny", f":{server.port}", "fixed", "120 ms", "0.75 ms", "live"):
        assert part in line


def test_flags_without_effect_are_named_once(launch: Launch) -> None:
    server = launch(*TINY, "--dtype", "bfloat16")
    assert server.logged().count("--dtype") == 1


def test_the_access_log_leaves_probes_out(launch: Launch) -> None:
    server = launch(*TINY, *INSTANT, "--enable-access-log")
    for path in ("/health", "/ready", "/ping", "/metrics", "/v1/models"):
        server.get(path)
    server.post(CHAT, QUESTION)
    # A line is written behind its answer.
    deadline = time.monotonic() + 30
    while CHAT not in (log := server.logged()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "/v1/models" in log
    assert CHAT in log
    for quiet in ("/health", "/ready", "/ping", "/metrics"):
        assert quiet not in log


# ---- Ways to serve ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runner", [APP, GUNICORN, GTHREAD])
def test_tokens_are_not_kept_together(launch: Launch, runner: str) -> None:
    server = launch(*TINY, "--inter-token-latency", "50ms", runner=runner)
    streams = collect_streams(server.port, CHAT, [{**QUESTION, "max_tokens": 10, "stream": True}] * 3)
    for stream in streams:
        times = stream.token_times()
        assert times[-1] - times[0] > 0.4
        assert len(set(times)) >= 5


def test_two_data_parallel_ranks(launch: Launch) -> None:
    server = launch(*TINY, *INSTANT, "--metrics-mode", "live", "--data-parallel-size", "2")
    ranks: set[str] = set()
    deadline = time.monotonic() + 20
    while ranks != {"0", "1"} and time.monotonic() < deadline:
        page = server.get("/metrics").body.decode()
        ranks |= set(re.findall(r'num_requests_running\{engine="(\d+)"', page))
    assert ranks == {"0", "1"}
    reply = server.post(CHAT, QUESTION, {"X-data-parallel-rank": "1"})
    assert re.fullmatch(r"vllm-0\.33\.0-dp2-[0-9a-f]{8}", reply.json()["system_fingerprint"])
    refusal = server.post(CHAT, QUESTION, {"X-data-parallel-rank": "2"})
    assert refusal.json()["error"]["message"] == "data_parallel_rank 2 is out of range [0, 2)."
    server.process.terminate()
    assert server.exit_code() == 0


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "mock.sock"
    server = start(tmp_path, (*TINY, "--uds", str(path)))
    try:
        request = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert http_over_unix(path, request, server.process)
    finally:
        server.kill()


def http_over_unix(path: Path, request: bytes, process: subprocess.Popen) -> bool:
    """True once the request is answered with 200."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket(socket.AF_UNIX) as connection:
            if connection.connect_ex(str(path)) == 0:
                connection.sendall(request)
                return connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        time.sleep(0.02)
    return False


def test_without_gunicorn_werkzeug_serves(launch: Launch) -> None:
    server = launch(*TINY, *INSTANT, runner=WERKZEUG)
    assert "warning: " in server.logged()
    assert json.loads(server.post(CHAT, QUESTION).body)["usage"]["completion_tokens"] == 4
    assert server.post(CHAT, {**QUESTION, "stream": True}).chunks()
    script = [sys.executable, "test_vllm_endpoints.py", "--base-url", server.base_url]
    told = subprocess.run(script, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=120)
    assert told.returncode == 0, told.stdout
    assert server.get("/nope").status == 404
