"""How much a client may send, how long it may take to send it, and to take what is sent to it.

gunicorn waits for ever in three places (its threaded worker for the head, both workers for the body and for room in
the socket) and reads a body of any size. Here all of them are bounded, for every worker class.
"""

import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from errno import ECONNRESET
from http import HTTPStatus
from typing import Any

from gunicorn import util
from gunicorn.http import parser
from gunicorn.http.body import ChunkedReader, LengthReader
from gunicorn.http.errors import LimitRequestHeaders, NoMoreData, ParseException
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import SocketUnreader

from vllm_mock.protocol.errors import ApiError, InvalidHttp
from vllm_mock.serving.lingering import Lingering, close_gracefully
from vllm_mock.settings import Settings

# A send of so many bytes at a time must make progress, not the whole answer at once.
PIECE_BYTES = 65_536
TRAILER_BYTES = 65_536

SLOW_REQUEST = "slow_request"
SLOW_READER = "slow_reader"
TOO_LARGE = "too_large"


class SlowRequest(ConnectionResetError):
    """The client took too long to send its request."""

    def __init__(self) -> None:
        super().__init__(ECONNRESET, "the request did not come in time")


class TooMuch(Exception):
    """More than may be sent was announced."""


class SlowReader(ConnectionResetError):
    """The client did not take what was sent to it."""

    def __init__(self) -> None:
        super().__init__(ECONNRESET, "the client does not read")


@dataclass
class Bounds:
    """The limits of this process, read from the settings by `install`; 0 is none."""

    request_bytes: int = 0
    head_bytes: int = 0
    read_seconds: float = 0.0
    write_seconds: float = 0.0
    # Whether waiting for a socket lets others run, so that a timeout of the socket costs nobody else anything.
    cooperative: bool = False
    # Called with the reason for each connection that is given up.
    dropped: Callable[[str], None] = lambda reason: None


bounds = Bounds()


class PatientUnreader(SocketUnreader):
    """Reads from a socket; once a request has begun, only until its deadline (monotonic seconds)."""

    deadline: float | None = None

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        if bounds.write_seconds and not bounds.cooperative:
            # A timeout of the socket object would hold up the thread that looks whether the client is gone.
            seconds, fraction = divmod(bounds.write_seconds, 1)
            limit = struct.pack("ll", int(seconds), int(fraction * 1e6))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def chunk(self, size_hint: int | None = None) -> bytes:
        """The next bytes; raises SlowRequest when they come too late."""
        if self.deadline is None:
            data = super().chunk(size_hint)
            start_clock(self)
            return data
        before = self.sock.gettimeout()
        left = max(0.001, self.deadline - time.monotonic())
        self.sock.settimeout(left if before is None else min(left, before))
        try:
            return super().chunk(size_hint)
        except (TimeoutError, ssl.SSLError) as error:
            if not _timed_out(error) or time.monotonic() < self.deadline:
                raise
            bounds.dropped(SLOW_REQUEST)
            raise SlowRequest from None
        finally:
            self.sock.settimeout(before)


def start_clock(unreader: Any) -> None:
    """A request has begun: what is still missing of it must come in time."""
    if bounds.read_seconds:
        unreader.deadline = time.monotonic() + bounds.read_seconds


class PatientRequest(Request):
    """gunicorn's request, whose head has a limit as a whole and a deadline."""

    def __init__(self, cfg: Any, unreader: Any, peer_addr: Any, req_number: int = 1) -> None:
        unreader.deadline = None
        super().__init__(cfg, unreader, peer_addr, req_number)

    def read_into(self, unreader: Any, buf: bytearray, stop: bool = False) -> None:
        super().read_into(unreader, buf, stop)
        if len(buf) > bounds.head_bytes > 0:
            raise LimitRequestHeaders(f"more than {bounds.head_bytes} bytes")

    def set_body_reader(self) -> None:
        super().set_body_reader()
        # gunicorn knows "close" where it is all that the header says.
        if any(name == "CONNECTION" and _asks_to_close(value) for name, value in self.headers):
            self.force_close()
        if isinstance(self.body.reader, ChunkedReader):
            self.body.reader = PatientChunkedReader(self, self.unreader)


class PatientChunkedReader(ChunkedReader):
    """gunicorn's reader of chunks, which raises TooMuch before it waits for a chunk that is too large."""

    def __init__(self, request: Any, unreader: Any) -> None:
        super().__init__(request, unreader)
        # It looks through all trailers whenever some more have come.
        self.limit_trailer_section = TRAILER_BYTES

    def parse_chunk_size(self, unreader: Any, data: bytes | None = None) -> tuple[int, bytes | None]:
        size, rest = super().parse_chunk_size(unreader, data)
        if size > bounds.request_bytes > 0:
            raise TooMuch
        return size, rest


def _asks_to_close(connection: str) -> bool:
    return "close" in (option.strip(" \t").lower() for option in connection.split(","))


class BoundedReader:
    """Reads the body of a request: not more than is allowed, and not for longer. Raises ApiError and InvalidHttp."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self._reader = request.body.reader
        self._left = bounds.request_bytes or float("inf")

    def read(self, size: int) -> bytes:
        announced = self._reader.length if isinstance(self._reader, LengthReader) else 0
        if announced > self._left:
            raise self._refusal(too_large(), TOO_LARGE)
        try:
            data = self._reader.read(size)
        except SlowRequest:
            raise self._refusal(too_slow()) from None
        except TooMuch:
            raise self._refusal(too_large(), TOO_LARGE) from None
        except (ParseException, NoMoreData) as fault:
            raise self._refusal(InvalidHttp(str(fault))) from None
        if len(data) < min(size, announced):
            raise self._refusal(InvalidHttp("the body ended before its length"))
        self._left -= len(data)
        if self._left < 0:
            raise self._refusal(too_large(), TOO_LARGE)
        return data

    def _refusal(self, error: Exception, reason: str | None = None) -> Exception:
        if reason is not None:
            bounds.dropped(reason)
        # Where the next request begins is not known.
        self._request.force_close()
        return error


def too_large() -> ApiError:
    """413 for a body over --max-request-bytes; vLLM has no such limit."""
    text = f"The request body is larger than {bounds.request_bytes} bytes (--max-request-bytes)."
    return ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)


def too_slow() -> ApiError:
    """408 for a body that did not come within --request-read-timeout; vLLM waits for ever."""
    text = f"The request body did not come within {bounds.read_seconds:g} seconds (--request-read-timeout)."
    return ApiError(HTTPStatus.REQUEST_TIMEOUT, text)


def install(settings: Settings, dropped: Callable[[str], None], *, cooperative: bool) -> None:
    """Bound what clients may do in this process; `dropped` is told the reason for each that is given up."""
    bounds.request_bytes = settings.max_request_bytes
    bounds.head_bytes = settings.h11_max_incomplete_event_size
    bounds.read_seconds = settings.request_read_timeout
    bounds.write_seconds = settings.response_write_timeout
    bounds.cooperative = cooperative
    bounds.dropped = dropped
    parser.SocketUnreader = PatientUnreader
    if not issubclass(RequestParser.mesg_class, PatientRequest):
        RequestParser.mesg_class = PatientRequest
    finish_body = RequestParser.finish_body

    def finish(self: Any, deadline: float | None = None, max_bytes: int | None = None) -> bool:
        try:
            return finish_body(self, deadline, max_bytes)
        except (ApiError, InvalidHttp):
            return False

    RequestParser.finish_body = finish
    util.write = write
    util.write_chunk = write_chunk
    # gunicorn's threaded worker would linger in the thread that accepts connections.
    util.close_graceful = close_gracefully if cooperative else Lingering().close


def bound(request: Any) -> None:
    """Let the body of a request that is not there yet be read within the limits."""
    body = request.body
    if hasattr(body, "reader"):
        body.reader = BoundedReader(request)


def write(sock: Any, data: bytes, chunked: bool = False) -> None:
    """As gunicorn's, but a client that takes nothing for too long is given up: raises SlowReader."""
    if chunked:
        write_chunk(sock, data)
    else:
        send_all(sock, data)


def write_chunk(sock: Any, data: bytes | str) -> None:
    """The same for a chunk."""
    encoded = data.encode() if isinstance(data, str) else data
    send_all(sock, b"%X\r\n%b\r\n" % (len(encoded), encoded))


def send_all(sock: Any, data: "bytes | memoryview") -> None:
    """Send everything; raises SlowReader when the client takes nothing for `bounds.write_seconds`."""
    view = memoryview(data)
    before = sock.gettimeout()
    timed = bounds.cooperative and bounds.write_seconds > 0 and before is None
    if timed:
        sock.settimeout(bounds.write_seconds)
    try:
        for start in range(0, len(view), PIECE_BYTES):
            sock.sendall(view[start : start + PIECE_BYTES])
    except (TimeoutError, BlockingIOError, ssl.SSLError) as error:
        if before == 0.0 or not _timed_out(error):
            raise
        bounds.dropped(SLOW_READER)
        raise SlowReader from None
    finally:
        if timed:
            sock.settimeout(before)


def _timed_out(error: OSError) -> bool:
    """Whether that is how a socket says that it waited long enough."""
    kinds = (TimeoutError, BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError)
    return isinstance(error, kinds) or "timed out" in str(error)
