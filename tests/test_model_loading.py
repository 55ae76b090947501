"""While the model loads: what a server answers until it is ready."""

import time
from pathlib import Path

import requests
from control_support import get, post
from server import APP, INSTANT, TINY, Server, start
from waiting_support import eventually


def test_while_the_model_loads_nothing_is_served(tmp_path: Path) -> None:
    # Longer than this test takes on any machine.
    server = start(tmp_path, (*TINY, *INSTANT, "--startup-duration", "10m"), {}, APP)
    try:
        eventually(lambda: _answers(server))
        statuses = [get(server, path).status_code for path in ("/health", "/ready", "/v1/models")]
        assert statuses == [503, 503, 503]
        assert post(server, "/v1/completions", model="tiny", prompt="a").json()["error"]["code"] == 503
    finally:
        server.kill()


def test_the_model_takes_its_time_to_load(tmp_path: Path) -> None:
    began = time.monotonic()
    server = start(tmp_path, (*TINY, *INSTANT, "--startup-duration", "2s"), {}, APP)
    try:
        eventually(lambda: _answers(server) and get(server, "/ready").status_code == 200)
        assert time.monotonic() - began > 2
        assert get(server, "/health").status_code == 200
        assert post(server, "/v1/completions", model="tiny", prompt="a", max_tokens=1).status_code == 200
    finally:
        server.kill()


def _answers(server: Server) -> bool:
    try:
        return get(server, "/health").status_code > 0
    except requests.ConnectionError:
        return False
