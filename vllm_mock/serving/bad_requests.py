"""The answer to bytes that are no HTTP request: short plain text as uvicorn's, never gunicorn's HTML page."""

from typing import Any

from gunicorn import util

BODY = b"Invalid HTTP request received."


def install() -> None:
    """Replace gunicorn's error page in this process, whatever its worker class."""
    util.write_error = write_error


def write_error(sock: Any, status: int, reason: str, message: str) -> None:
    """Answer and leave the closing to the worker; `message`, the parser's complaint, is logged by gunicorn."""
    head = (
        f"HTTP/1.1 {status} {reason}\r\n"
        "content-type: text/plain; charset=utf-8\r\n"
        f"content-length: {len(BODY)}\r\n"
        "connection: close\r\n\r\n"
    )
    util.write_nonblock(sock, head.encode("latin-1") + BODY)
