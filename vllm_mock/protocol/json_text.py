"""Compact JSON as vLLM writes it: no spaces, non-ASCII characters as they are."""

import json
from typing import Any

# The C function behind json.dumps(ensure_ascii=False) for one string: quotes and escapes it.
quote = json.encoder.encode_basestring

_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def compact(value: Any) -> str:
    """`value` as compact JSON text."""
    if value is None:
        return "null"
    return _encoder.encode(value)


def quote_or_null(text: str | None) -> str:
    """The string as JSON text; null for None."""
    return "null" if text is None else quote(text)


def to_bytes(text: str) -> bytes:
    """UTF-8 bytes; a lone surrogate, which has none, becomes a question mark instead of an error."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")
