"""From a request's bytes to a Python value, refused exactly where FastAPI and vLLM refuse it."""

import json
from typing import Any

from vllm_mock.protocol import errors

_JSON = "application/json"
# What json.loads calls in the end, for a text that begins with the value.
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


def parse_json(raw: bytes, content_type: str | None) -> Any:
    """The body's value; None when there is no body. Raises ApiError.

    FastAPI reads the JSON of every ``application/json`` and ``application/...+json`` first, and only then
    does vLLM insist on the exact media type: broken JSON is told before a wrong type.
    """
    if content_type == _JSON:
        return _decode(raw) if raw else None
    media_type = (content_type or "").split(";", 1)[0].lower()
    value = _decode(raw) if raw and _is_json(media_type.strip()) else None
    if media_type != _JSON:
        raise errors.plain_validation_error(f"Unsupported Media Type: Only '{_JSON}' is allowed")
    return value


def decode_json(raw: bytes, content_type: str | None) -> Any:
    """The same where vLLM does not insist: a body of another media type is none. Raises ApiError."""
    media_type = (content_type or "").split(";", 1)[0].strip().lower()
    return _decode(raw) if raw and _is_json(media_type) else None


def _is_json(media_type: str) -> bool:
    main, _, subtype = media_type.partition("/")
    return main == "application" and (subtype == "json" or subtype.endswith("+json"))


def _decode(raw: bytes) -> Any:
    # An object in UTF-8 from the first byte to the last, as clients send it: json.loads takes ten calls to get there.
    if raw[:1] == b"{" and raw[-1:] == b"}":
        try:
            text = raw.decode()
            value, end = _scan(text, 0)
            if end == len(text):
                return value
        except (ValueError, RecursionError, StopIteration):
            pass
    try:
        return json.loads(raw)
    except json.JSONDecodeError as e:
        raise errors.validation_error([_json_error(e)]) from None
    except (ValueError, RecursionError):  # bad UTF-8, a number of too many digits, too deep
        raise errors.unparsable_body() from None


def _json_error(e: json.JSONDecodeError) -> dict[str, Any]:
    """pydantic's shape of an error, with the character offset as the place."""
    return {
        "type": "json_invalid",
        "loc": ("body", e.pos),
        "msg": "JSON decode error",
        "input": {},
        "ctx": {"error": e.msg},
    }
