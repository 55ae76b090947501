"""Where gunicorn's HTTP would betray that it is not uvicorn: the Server header, and the page for broken requests."""

from typing import Any

from gunicorn import util
from gunicorn.http import wsgi

SERVER = "uvicorn"
BODY = b"Invalid HTTP request received."


def install() -> None:
    """Speak as uvicorn does in this process, whatever gunicorn's worker class."""
    wsgi.SERVER = SERVER
    util.write_error = write_error


def write_error(sock: Any, status: int, reason: str, message: str) -> None:
    """Short plain text, never HTML; gunicorn has logged `message`, the parser's complaint, and will close."""
    head = (
        f"HTTP/1.1 {status} {reason}\r\n"
        "content-type: text/plain; charset=utf-8\r\n"
        f"content-length: {len(BODY)}\r\n"
        "connection: close\r\n\r\n"
    )
    util.write_nonblock(sock, head.encode("latin-1") + BODY)
