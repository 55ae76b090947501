"""What a half of a disaggregated deployment was asked and answered, for tests that look behind the gateway."""

import base64
import json
import threading
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from vllm_mock.settings import Settings

# The routes that AIBrix's mock records.
PATHS = frozenset(("/v1/chat/completions", "/v1/completions"))
MOST_RECORDS = 1000
MOST_BYTES = 32 * 2**20
_SECRET = frozenset(("authorization", "cookie", "proxy-authorization", "x-api-key"))

Record = dict[str, Any]


class Recorder:
    """The last requests, as long as their bodies are not too large together. The keys are those of AIBrix's mock."""

    def __init__(self, settings: Settings) -> None:
        self._about = {"pod": settings.pod_name, "engine": settings.llm_engine, "role": settings.pd_role}
        self._lock = threading.Lock()
        self._records: deque[tuple[int, Record]] = deque()
        self._bytes = 0
        self._number = 0

    def start(self, path: str, headers: Mapping[str, str], body: bytes) -> Record:
        """A request has come; its record is to be completed by `finish`."""
        record: Record = {
            "timestamp_started": _now(),
            "timestamp_finished": None,
            "request_id": headers.get("x-request-id"),
            "path": path,
            "headers": {name: "<redacted>" if name in _SECRET else value for name, value in headers.items()},
            "raw_body_base64": base64.b64encode(body).decode(),
            "parsed_json": _parsed(body),
            **self._about,
            **dict.fromkeys(("outcome", "status_code", "error", "response")),
            "delay_ms": 0,
        }
        with self._lock:
            self._number += 1
            self._records.append((len(body), {"sequence": self._number, **record}))
            self._bytes += len(body)
            while len(self._records) > MOST_RECORDS or (self._bytes > MOST_BYTES and len(self._records) > 1):
                self._bytes -= self._records.popleft()[0]
            return self._records[-1][1]

    def finish(self, record: Record, status: int, body: bytes | None) -> None:
        """Its answer; None for a stream, whose body is not kept."""
        answer = None if body is None else _parsed(body)
        outcome = "success" if status < 400 else "rejected" if status < 500 else "failed"
        error = answer.get("error") if isinstance(answer, dict) and status >= 400 else None
        record |= {
            **{"timestamp_finished": _now(), "outcome": outcome, "status_code": status},
            **{"error": error, "response": answer},
        }

    def records(self, request_id: str | None) -> list[Record]:
        """Those with this X-Request-Id, or all, the oldest first."""
        with self._lock:
            found = [record for _, record in self._records]
        return [record for record in found if request_id is None or record["request_id"] == request_id]


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
