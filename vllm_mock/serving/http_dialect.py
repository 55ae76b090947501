"""Where gunicorn's HTTP would betray that it is not uvicorn: the Server header, known methods, broken requests."""

from typing import Any

from gunicorn import util
from gunicorn.http import wsgi
from gunicorn.http.errors import InvalidHTTPVersion, InvalidRequestMethod

from vllm_mock.protocol.errors import NO_HTTP

SERVER = "uvicorn"
VERSIONS = ((1, 0), (1, 1))
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


def check(request: Any) -> None:
    """Raises what the worker answers as a broken request."""
    if request.method not in METHODS:
        raise InvalidRequestMethod(request.method)
    if request.version not in VERSIONS:
        raise InvalidHTTPVersion(request.version)


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
        f"content-length: {len(NO_HTTP)}\r\n"
        "connection: close\r\n\r\n"
    )
    util.write_nonblock(sock, head.encode("latin-1") + NO_HTTP)
