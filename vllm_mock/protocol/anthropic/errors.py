"""Anthropic's shape of an error."""

from typing import Any

from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.json_text import compact, to_bytes

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


def payload(error: ApiError) -> dict[str, Any]:
    """The error as a dictionary; the type follows from the status."""
    kind = _TYPES.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": error.message}}


def body(error: ApiError) -> bytes:
    """The body of an answer that is an error."""
    return to_bytes(compact(payload(error)))


def event(error: ApiError) -> bytes:
    """The same as an event of a stream."""
    return to_bytes(f"event: error\ndata: {compact(payload(error))}\n\n")
