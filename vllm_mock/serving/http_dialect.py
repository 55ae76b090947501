"""Where gunicorn's HTTP would betray that it is not uvicorn: the Server header, known methods, broken requests."""

from typing import Any

from gunicorn import util
from gunicorn.http import wsgi
from gunicorn.http.errors import InvalidRequestMethod

SERVER = "uvicorn"
BODY = b"Invalid HTTP request received."
# Those that uvicorn's parser knows; another one is a broken request to it.
METHODS = frozenset(
    (
        *("ACL", "BIND", "CHECKOUT", "CONNECT", "COPY", "DELETE", "GET", "HEAD", "LINK", "LOCK", "M-SEARCH", "MERGE"),
        *("MKACTIVITY", "MKCALENDAR", "MKCOL", "MOVE", "NOTIFY", "OPTIONS", "PATCH", "POST", "PROPFIND"),
        *("PROPPATCH", "PURGE", "PUT", "QUERY", "REBIND", "REPORT", "SEARCH", "SOURCE", "SUBSCRIBE", "TRACE"),
        *("UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE"),
    )
)


def install() -> None:
    """Speak as uvicorn does in this process, whatever gunicorn's worker class."""
    wsgi.SERVER = SERVER
    util.write_error = write_error


def check_method(method: str) -> None:
    """Raises what the worker answers as a broken request."""
    if method not in METHODS:
        raise InvalidRequestMethod(method)


def write_error(sock: Any, status: int, reason: str, message: str) -> None:
    """Short plain text, never HTML, and 400 for all that is wrong with a request.

    gunicorn has logged `message`, the parser's complaint, and will close.
    """
    line = "500 Internal Server Error" if status == 500 else "400 Bad Request"
    head = (
        f"HTTP/1.1 {line}\r\n"
        f"date: {util.http_date()}\r\n"
        f"server: {SERVER}\r\n"
        "content-type: text/plain; charset=utf-8\r\n"
        f"content-length: {len(BODY)}\r\n"
        "connection: close\r\n\r\n"
    )
    util.write_nonblock(sock, head.encode("latin-1") + BODY)
