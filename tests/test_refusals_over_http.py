"""Refusals recorded from vLLM 0.33.0 and asked of the real server, byte by byte: a request and its answer per line."""

import json
from pathlib import Path
from typing import Any

import pytest
from server import INSTANT, TINY, ServerPool

_LINES = (Path(__file__).parent / "contract" / "refusals_http.jsonl").read_text().splitlines()
RECORDED = [json.loads(line) for line in _LINES]
SERVED = ("/models/tiny", *TINY, *INSTANT)


@pytest.mark.parametrize("path", sorted({record["path"] for record in RECORDED}))
def test_recorded_refusals(path: str, servers: ServerPool) -> None:
    server = servers.get(*SERVED)
    records: list[dict[str, Any]] = [record for record in RECORDED if record["path"] == path]
    for record in records:
        flags = record.get("flags", ())
        asked = servers.get(*SERVED, *flags) if flags else server
        reply = asked.post(path, record["body"].encode(), record["headers"])
        assert (reply.status, reply.body.decode()) == (record["status"], record["answer"]), record


def test_bounds_that_the_environment_sets(servers: ServerPool) -> None:
    bounds = {"VLLM_MAX_STOP_STRINGS": "2", "VLLM_MAX_COMPLETION_PROMPTS": "3", "VLLM_MAX_N_SEQUENCES": "2"}
    server = servers.get(*SERVED, environ=bounds)
    allowed = {"prompt": ["a"] * 3, "stop": ["x", "y"], "n": 2, "max_tokens": 1}
    assert server.post("/v1/completions", allowed).status == 200
    for name, value, told in (
        ("stop", ["x", "y", "z"], "List should have at most 2 items after validation, not 3"),
        ("prompt", ["a"] * 4, "prompt list length 4 exceeds the maximum allowed count of 3. To increase this limit, "),
        ("n", 3, "VLLM_MAX_N_SEQUENCES"),
    ):
        reply = server.post("/v1/completions", allowed | {name: value})
        assert reply.status == 400
        assert told in reply.json()["error"]["message"]
