"""Reads requests of the usual form at once; gunicorn's own parser takes all others, and all that is wrong."""

import os
import re
from functools import lru_cache
from io import BytesIO
from typing import Any

from gunicorn.http import wsgi
from gunicorn.http.body import Body, LengthReader
from gunicorn.util import unquote_to_wsgi_str

from vllm_mock.serving.patience import PatientRequest, start_clock

# A whole head, of characters that no rule forbids. A name with "_" would be taken for one with "-" later on.
_USUAL = re.compile(
    r'(GET|POST) (/(?!/)[!"$-~]*) HTTP/1\.1'
    r"((?:\r\n[!#-'*+\-.0-9A-Z^`a-z|~]+:[ \t\x21-\x7e\x80-\xff]*)*)\r\n\r\n"
).fullmatch
_ONCE = frozenset(("HTTP_HOST", "CONTENT_TYPE", "CONTENT_LENGTH"))
# More than what is in the buffer at a time.
_READ_AT_ONCE = 65_536
_MOST_DIGITS = 20
# Those that change how the request is to be read.
_UNUSUAL = frozenset(("EXPECT", "TRANSFER-ENCODING", "X-FORWARDED-PROTO"))


@lru_cache(maxsize=512)
def _names(name: str) -> tuple[str, str]:
    """A header's name as gunicorn and as WSGI spell it."""
    upper = name.upper()
    key = upper.replace("-", "_")
    return upper, key if upper in ("CONTENT-TYPE", "CONTENT-LENGTH") else f"HTTP_{key}"


def may_read(cfg: Any) -> bool:
    """Whether no setting of gunicorn asks for more than is done here; ours do not."""
    return (
        cfg.proxy_protocol == "off"
        and cfg.limit_request_line == 0
        and cfg.limit_request_field_size >= _READ_AT_ONCE
        and not os.environ.get("SCRIPT_NAME")
    )


class LeanRequest(PatientRequest):
    """gunicorn's request. `environ` is the WSGI environ without the addresses, None if the form was not usual."""

    version: Any = (1, 1)
    fragment = ""
    trailers: Any = ()
    must_close = False

    def __init__(self, cfg: Any, unreader: Any, peer_addr: Any, req_number: int = 1, data: bytes | None = None) -> None:
        """`data` was read before, and holds the whole head."""
        self.environ: dict[str, Any] | None = None
        unreader.deadline = None
        if data is None:
            data = unreader.read()
        if not data:
            raise StopIteration
        end = data.find(b"\r\n\r\n") + 4
        usual = _USUAL(data[:end].decode("latin-1")) if end > 3 else None
        if usual is None or not self._take(wsgi.base_environ(cfg), cfg.limit_request_fields, *usual.groups()):
            unreader.unread(data)
            super().__init__(cfg, unreader, peer_addr, req_number)
            if unreader.deadline is None:
                start_clock(unreader)
            return
        self.cfg = cfg
        self.unreader = unreader
        self.peer_addr = self.remote_addr = peer_addr
        self.req_number = req_number
        self.proxy_protocol_info = None
        self.scheme = "http"
        self._take_body(data, end)

    def _take(self, environ: dict[str, Any], most_fields: int, method: str, uri: str, fields: str) -> bool:
        """Fills environ and attributes from the parts of a head; False when the headers are not usual."""
        lines = fields.split("\r\n")
        if len(lines) - 1 > most_fields:
            return False
        headers = []
        for line in lines[1:]:
            name, _, value = line.partition(":")
            upper, key = _names(name)
            value = value.strip(" \t")
            if key in environ:
                if key in _ONCE:
                    return False
                environ[key] = f"{environ[key]},{value}"
            elif upper in _UNUSUAL:
                return False
            else:
                environ[key] = value
            headers.append((upper, value))
        length = environ.get("CONTENT_LENGTH", "0")
        # Python refuses to read a number of thousands of digits.
        if not (length.isascii() and length.isdigit() and len(length) <= _MOST_DIGITS):
            return False
        if "," in environ.get("HTTP_CONNECTION", ""):
            return False
        self.headers = headers
        self._length = int(length)
        self.method, self.uri = method, uri
        self.path, _, self.query = uri.partition("?")
        environ["REQUEST_METHOD"] = method
        environ["QUERY_STRING"] = self.query
        environ["RAW_URI"] = uri
        environ["SERVER_PROTOCOL"] = "HTTP/1.1"
        environ["wsgi.url_scheme"] = "http"
        environ["SCRIPT_NAME"] = ""
        environ["PATH_INFO"] = unquote_to_wsgi_str(self.path) if "%" in uri else self.path
        self.environ = environ
        return True

    @property
    def all_here(self) -> bool:
        """Whether nothing of the request can be left on the connection."""
        return type(self.body) is BytesIO

    def should_close(self) -> bool:
        if self.environ is None or "HTTP_CONNECTION" in self.environ:
            return super().should_close()
        return self.must_close

    def _take_body(self, data: bytes, start: int) -> None:
        end = start + self._length
        if end <= len(data):
            self.body: Any = BytesIO(data[start:end])
            rest = data[end:]
        else:
            if self.unreader.deadline is None:
                start_clock(self.unreader)
            self.body = Body(LengthReader(self.unreader, self._length))
            rest = data[start:]
        if rest:
            self.unreader.unread(rest)
        assert self.environ is not None
        self.environ["wsgi.input"] = self.body

    def addressed(self, sock: Any, client: Any, server: Any) -> dict[str, Any]:
        """The whole environ of a request over TCP; only for a request of the usual form."""
        environ = self.environ
        assert environ is not None
        environ["gunicorn.socket"] = sock
        environ["REMOTE_ADDR"] = client[0]
        environ["REMOTE_PORT"] = str(client[1])
        environ["SERVER_NAME"] = server[0]
        environ["SERVER_PORT"] = str(server[1])
        return environ
