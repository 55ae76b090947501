"""gunicorn's response with fewer steps: head and first bytes leave in one send, without gevent's `sendall`."""

import re
import time
from typing import Any

from gunicorn import util
from gunicorn.http import wsgi

from vllm_mock.serving import patience

_VALUE = re.compile(r"[ \t\x21-\x7e\x80-\xff]*").fullmatch


class _Date:
    """The Date header, formatted once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def now(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._text = util.http_date(second)
            self._second = second
        return self._text


_date = _Date()


def send_all(sock: Any, data: bytes) -> None:
    """Send everything; gevent's own `sendall` first asks for the type of the socket, at each call.

    Raises SlowReader when the client does not take it.
    """
    try:
        sent = sock._sock.send(data)
    except BlockingIOError:
        sent = 0
    if sent < len(data):
        patience.send_all(sock, memoryview(data)[sent:])


class LeanResponse(wsgi.Response):
    """The answer to one request over a plain socket, from an application whose header names are right.

    The head waits for the first bytes of the body. `unsent` holds bytes that go out before any others.
    """

    status: str | None
    unsent = b""

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if self.status is not None:
            return super().start_response(status, headers, exc_info)
        self.status = status
        self.status_code = int(status[:3])
        for name, value in headers:
            if _VALUE(value) is None:
                raise ValueError(f"not to be sent as a header: {name}")
            if name == "Content-Length":
                self.response_length = int(value)
        self.headers = headers
        self._omits_body = self._response_omits_body(self.req.method, self.status_code)
        self.chunked = self.response_length is None and not self._omits_body and self.req.version > (1, 0)
        return self.write

    def head(self) -> bytes:
        """Status line and headers, with the empty line behind them."""
        self.headers_sent = True
        major, minor = self.req.version
        lines = [
            f"HTTP/{major}.{minor} {self.status}\r\nServer: {self.version}\r\nDate: {_date.now()}\r\n"
            f"Connection: {'close' if self.should_close() else 'keep-alive'}\r\n"
        ]
        if self.chunked:
            lines.append("Transfer-Encoding: chunked\r\n")
        lines += [f"{name}: {value}\r\n" for name, value in self.headers]
        lines.append("\r\n")
        return "".join(lines).encode("latin-1")

    def frame(self, data: bytes) -> bytes:
        """Body bytes as they go on the wire, counted; with the head if they are the first."""
        if not data or self._omits_body:
            data = b""
        elif self.chunked:
            self.sent += len(data)
            data = b"%X\r\n%b\r\n" % (len(data), data)
        else:
            if self.response_length is not None:
                # Never more than what was promised.
                data = data[: self.response_length - self.sent]
            self.sent += len(data)
        return data if self.headers_sent else self.head() + data

    def write(self, data: bytes) -> None:
        self.send(self.frame(data))

    def send(self, framed: bytes) -> None:
        """Send bytes as they are, behind those that are still unsent; blocks until the client takes them."""
        framed, self.unsent = self.unsent + framed, b""
        if framed:
            send_all(self.sock, framed)

    def close(self) -> None:
        if self.chunked:
            self.send(self.frame(b"") + b"0\r\n\r\n")
        elif not self.headers_sent or self.unsent:
            self.send(self.frame(b""))
