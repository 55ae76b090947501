"""What a link needs to say so that any worker, of any replica, can make the file again."""

import base64
import binascii
import json
import zlib
from typing import Any

_MAX_BYTES = 65_536


def token(content: dict[str, Any]) -> str:
    """A part of a URL that holds `content`, a JSON value."""
    packed = zlib.compress(json.dumps(content, separators=(",", ":")).encode(), 9)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def content(token: str) -> dict[str, Any] | None:
    """What a token holds; None for what is none."""
    try:
        packed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        value = json.loads(zlib.decompressobj().decompress(packed, _MAX_BYTES))
    except (binascii.Error, zlib.error, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
