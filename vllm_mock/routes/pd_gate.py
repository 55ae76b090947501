"""What a half of a disaggregated deployment does besides answering: records, and faults that headers ask for."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flask import Response, request

from vllm_mock.protocol.errors import ApiError
from vllm_mock.recorder import PATHS
from vllm_mock.routes.openai import headers
from vllm_mock.routes.replies import DELAY, error_reply

if TYPE_CHECKING:
    from vllm_mock.services import Services

RECORD = "vllm_mock.record"
# As AIBrix's mock reads them; a delay is in milliseconds.
FAIL, DELAY_ROLE = "x-aibrix-mock-fail", "x-aibrix-mock-delay-role"
WAIT, FIRST_TOKEN = "x-aibrix-mock-delay-ms", "x-aibrix-mock-first-token-stall-ms"
LONGEST_DELAY_MS = 30_000


class PDGate:
    """Asked before and after the views, in a server with a --pd-role."""

    def __init__(self, services: "Services") -> None:
        self._recorder = services.recorder
        self._role = services.settings.pd_role
        self.active = self._recorder is not None

    def arrive(self, environ: dict[str, Any]) -> None:
        """A request has come, whether it may come in or not."""
        if self._recorder is None or environ["PATH_INFO"] not in PATHS or environ["REQUEST_METHOD"] != "POST":
            return
        sent = {name.lower(): value for name, value in request.headers.items()}
        environ[RECORD] = self._recorder.start(environ["PATH_INFO"], sent, headers.peek(environ))

    def admit(self, environ: dict[str, Any]) -> Response | None:
        """The answer to a request that a header wants to fail; others are delayed as they want."""
        record = environ.get(RECORD)
        if record is None:
            return None
        sent = record["headers"]
        try:
            role = sent.get(DELAY_ROLE, self._role)
            if role not in ("prefill", "decode"):
                raise ValueError(DELAY_ROLE)
            wait, first_token = _milliseconds(sent, WAIT), _milliseconds(sent, FIRST_TOKEN)
        except ValueError as bad:
            return error_reply(ApiError.bad_request(f"invalid {bad}"))
        if role == self._role:
            record["delay_ms"] = wait
            time.sleep(wait / 1000)
            environ[DELAY] = environ.get(DELAY, 0.0) + first_token / 1000
        if sent.get(FAIL) == self._role:
            return error_reply(ApiError.internal(f"The {self._role} fails, as the header {FAIL} asks."))
        return None

    def leave(self, environ: dict[str, Any], response: Response) -> None:
        """A request has its answer."""
        record = environ.get(RECORD)
        if record is not None and self._recorder is not None:
            body = response.get_data() if response.is_sequence else None
            self._recorder.finish(record, response.status_code, body)


def _milliseconds(sent: Mapping[str, str], name: str) -> int:
    """Raises ValueError, with the header's name, for anything but a number in its shortest form."""
    text = sent.get(name, "0")
    if not (text.isascii() and text.isdigit() and str(int(text[:9])) == text and int(text) <= LONGEST_DELAY_MS):
        raise ValueError(name)
    return int(text)
