"""Refusals recorded from vLLM 0.33.0, byte by byte. Each line of the file is one request and its answer."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from protocol_support import StreamedError, check

from vllm_mock.protocol.errors import ApiError

_LINES = (Path(__file__).parent / "contract" / "refusals.jsonl").read_text().splitlines()
RECORDED = [json.loads(line) for line in _LINES]


def answer(record: dict[str, Any]) -> tuple[int, str]:
    raw = base64.b64decode(record["body_base64"]) if "body_base64" in record else record["body"].encode()
    try:
        check(record["path"], raw, record["headers"])
    except ApiError as e:
        return e.status, e.body().decode()
    except StreamedError as e:
        return 200, f"data: {e.event}\n\ndata: [DONE]\n\n"
    return 200, ""


@pytest.mark.parametrize("path", sorted({record["path"] for record in RECORDED}))
def test_recorded_refusals(path: str) -> None:
    records = [record for record in RECORDED if record["path"] == path]
    assert len(records) > 10
    for record in records:
        assert answer(record) == (record["status"], record["answer"]), record
