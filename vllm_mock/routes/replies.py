"""Flask responses with exactly the headers that vLLM sends."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from flask import Response
from werkzeug.datastructures import Headers

from vllm_mock.protocol.errors import ApiError, phrase
from vllm_mock.protocol.json_text import to_bytes

JSON = "application/json"
EVENT_STREAM = "text/event-stream; charset=utf-8"

# The key of the WSGI environ that holds when the request came, in monotonic seconds.
STARTED = "vllm_mock.started"
# By how many seconds its first token is to be late, if a fault rule says so.
DELAY = "vllm_mock.delay"
# The engine's Failure by which it is to end, if a fault rule says so.
FAILURE = "vllm_mock.failure"

NOT_FOUND = b'{"detail":"Not Found"}'
METHOD_NOT_ALLOWED = b'{"detail":"Method Not Allowed"}'

# Given a number, Werkzeug would shout the phrase: "404 NOT FOUND".
_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class _Headers(Headers):
    """Begins with values that need no look at whether they can be sent."""

    def __init__(self, good: list[tuple[str, str]]) -> None:
        self._list = good


class Reply(Response):
    """A response whose headers are complete: Werkzeug's second look at them at the end is left out."""

    content_length: int | None = None  # type: ignore[assignment]

    def __init__(self, body: bytes | Iterable[bytes], status: int, content_type: str) -> None:
        headers = [("Content-Type", content_type)]
        self.content_length = None
        if isinstance(body, bytes):
            self.content_length = len(body)
            headers.append(("Content-Length", str(self.content_length)))
            body = [body]
        self.headers = _Headers(headers)
        self.response = self._body = body
        self._status, self._status_code = _STATUS_LINES.get(status) or f"{status} {phrase(status)}", status
        self._on_close: list[Any] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response(self._status, list(self.headers))
        return self._body


def json_reply(body: bytes | str, status: int = 200) -> Response:
    """A JSON answer from its rendered body."""
    return Reply(body if isinstance(body, bytes) else to_bytes(body), status, JSON)


def error_reply(error: ApiError) -> Response:
    """An error in vLLM's shape."""
    return json_reply(error.body(), error.status)


def empty_reply(status: int = 200) -> Response:
    """An answer with neither body nor content type."""
    response = Response(b"", _STATUS_LINES[status])
    del response.headers["Content-Type"]
    return response


def text_reply(text: str | bytes, content_type: str, status: int = 200) -> Response:
    """An answer of any other kind."""
    return Response(text, _STATUS_LINES[status], content_type=content_type)


def bare_text_reply(text: str) -> Response:
    """A text without a content type, as vLLM answers a loaded adapter."""
    response = text_reply(to_bytes(text), "text/plain")
    del response.headers["Content-Type"]
    return response


def stream_reply(chunks: Iterable[bytes]) -> Response:
    """A stream of server-sent events."""
    return Reply(chunks, 200, EVENT_STREAM)
