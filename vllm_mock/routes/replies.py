"""Flask responses with exactly the headers that vLLM sends."""

from collections.abc import Iterator
from http import HTTPStatus

from flask import Response

from vllm_mock.protocol.errors import ApiError

JSON = "application/json"
EVENT_STREAM = "text/event-stream; charset=utf-8"

# The key of the WSGI environ that holds when the request came, in monotonic seconds.
STARTED = "vllm_mock.started"

NOT_FOUND = b'{"detail":"Not Found"}'
METHOD_NOT_ALLOWED = b'{"detail":"Method Not Allowed"}'

# Given a number, Werkzeug would shout the phrase: "404 NOT FOUND".
_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


def json_reply(body: bytes | str, status: int = 200) -> Response:
    """A JSON answer from its rendered body."""
    return Response(body, _STATUS_LINES[status], content_type=JSON)


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


def stream_reply(chunks: Iterator[bytes]) -> Response:
    """A stream of server-sent events."""
    return Response(chunks, _STATUS_LINES[200], content_type=EVENT_STREAM)
