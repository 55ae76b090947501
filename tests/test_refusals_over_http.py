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
