"""The two endpoint scripts, run as a user runs them: as subprocesses, against a server started by app.py."""

from __future__ import annotations

import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from server import GUNICORN, ROOT, clean_environment, free_port, running

OPENAI_SCRIPT = "test_openai_endpoints.py"
VLLM_SCRIPT = "test_vllm_endpoints.py"
SCRIPTS = [OPENAI_SCRIPT, VLLM_SCRIPT]
# Of a hang, in seconds; nothing here is expected to come near it.
RUN_LIMIT = 300


def script_environment(**variables: str) -> dict[str, str]:
    """The environment without what would change the keys of the scripts or their way to the server."""
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    kept = {
        name: value
        for name, value in clean_environment().items()
        if not name.startswith("OPENAI_") and name.upper() not in proxies
    }
    return {**kept, **variables}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server as the README starts it: default model, latencies and metrics, no key."""
    with running(tmp_path_factory.mktemp("server")) as started:
        yield started.base_url


@pytest.fixture(scope="module")
def keyed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A fast server with two names, live metrics and an API key, under gunicorn's own command."""
    flags = ("--served-model-name", "first", "second", "--metrics-mode", "live", "--api-key", "right-key")
    latencies = ("--time-to-first-token", "2ms", "--inter-token-latency", "1ms")
    with running(tmp_path_factory.mktemp("keyed"), (*flags, *latencies), runner=GUNICORN) as started:
        yield started.base_url


def run_script(script: str, base_url: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    url = f"{base_url}/v1" if script == OPENAI_SCRIPT else base_url
    return subprocess.run(
        [sys.executable, script, "--base-url", url, *arguments],
        cwd=ROOT,
        env=script_environment(**variables),
        capture_output=True,
        text=True,
        timeout=RUN_LIMIT,
    )


def assert_passes(result: subprocess.CompletedProcess[str]) -> None:
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    *lines, summary = result.stdout.splitlines()
    counts = re.fullmatch(r"(\d+) passed, 0 failed", summary)
    assert counts, summary
    # Every check has a line of its own, after the one that says what is checked.
    assert sum(line.startswith("ok ") for line in lines) == int(counts[1]) > 20
    assert all(line.startswith(("ok ", "note ")) for line in lines[1:])


def assert_cannot_begin(result: subprocess.CompletedProcess[str], *said: str) -> None:
    assert result.returncode == 2, result.stdout + result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert "Traceback" not in result.stderr
    for words in said:
        assert words in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("script", SCRIPTS)
def test_passes_against_the_default_server(script: str, server: str) -> None:
    assert_passes(run_script(script, server))


@pytest.mark.parametrize("script", SCRIPTS)
def test_passes_with_an_api_key_and_an_alias(script: str, keyed_server: str) -> None:
    result = run_script(script, keyed_server, "--api-key", "right-key", "--model", "second")
    assert_passes(result)
    assert "model second" in result.stdout.splitlines()[0]
    # With a key in force the check of a wrong or missing one is no mere note.
    assert "asks for no key" not in result.stdout


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("variable", ["VLLM_API_KEY", "OPENAI_API_KEY"])
def test_takes_the_key_from_the_environment(script: str, variable: str, keyed_server: str) -> None:
    # An unlisted model ends the run after the key was accepted and before the checks.
    result = run_script(script, keyed_server, "--model", "absent", **{variable: "right-key"})
    assert_cannot_begin(result, "'absent'", "first, second")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_wrong_key_is_one_line(script: str, keyed_server: str) -> None:
    assert_cannot_begin(run_script(script, keyed_server, "--api-key", "wrong"), "401", "--api-key")
    assert_cannot_begin(run_script(script, keyed_server), "401", "--api-key")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_dead_server_is_one_line(script: str) -> None:
    base_url = f"http://127.0.0.1:{free_port()}"
    assert_cannot_begin(run_script(script, base_url), "no server answers", base_url)


@pytest.mark.parametrize(("script", "package"), [(OPENAI_SCRIPT, "openai"), (VLLM_SCRIPT, "requests")])
def test_a_missing_sdk_is_one_line(script: str, package: str, tmp_path: Path) -> None:
    hidden = f"raise ModuleNotFoundError(\"No module named '{package}'\", name='{package}')\n"
    (tmp_path / f"{package}.py").write_text(hidden)
    result = run_script(script, "http://127.0.0.1:9", PYTHONPATH=str(tmp_path))
    assert_cannot_begin(result, f"{package} is not installed", f"pip install {package}")


def test_metrics_are_checked_without_prometheus_client_too(tmp_path: Path, keyed_server: str) -> None:
    (tmp_path / "prometheus_client.py").write_text("raise ImportError\n")
    result = run_script(VLLM_SCRIPT, keyed_server, "--api-key", "right-key", PYTHONPATH=str(tmp_path))
    assert_passes(result)
    assert "read with a pattern" in result.stdout


class BrokenServer(http.server.BaseHTTPRequestHandler):
    """Lists a model and answers everything else with 500."""

    def reply(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        listed = self.path == "/v1/models"
        body = json.dumps({"data": [{"id": "broken", "object": "model"}]} if listed else {}).encode()
        self.send_response(200 if listed else 500)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = reply

    def log_message(self, format: str, *values: object) -> None:
        pass


@pytest.fixture
def broken_server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), BrokenServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("script", SCRIPTS)
def test_failed_checks_are_counted_with_a_reason_each(script: str, broken_server: str) -> None:
    result = run_script(script, broken_server)
    assert result.returncode == 1, result.stdout + result.stderr
    assert result.stderr == ""
    *lines, summary = result.stdout.splitlines()
    counts = re.fullmatch(r"(\d+) passed, (\d+) failed", summary)
    assert counts, summary
    failures = [line for line in lines if line.startswith("FAIL ")]
    assert len(failures) == int(counts[2]) > 20
    assert all(re.fullmatch(r"FAIL  .+: .+", line) for line in failures)
    assert int(counts[1]) <= 1, "only the model list of this server is right"
