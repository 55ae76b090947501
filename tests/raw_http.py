"""HTTP as bytes on sockets: exact replies, and streams with the time at which each event came."""

import http.client
import json
import selectors
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

JSON_HEADERS = {"Content-Type": "application/json"}
END_OF_CHUNKS = b"0\r\n\r\n"
DONE = b"data: [DONE]"


@dataclass
class Reply:
    """A complete answer; header names are in lower case, in the order in which they came."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of a header, None when it is not there."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[bytes]:
        """The events of a text/event-stream body, without their blank lines."""
        return self.body.removesuffix(b"\n\n").split(b"\n\n")

    def chunks(self) -> list[Any]:
        """The JSON of every event of a stream but the final [DONE]."""
        return parse_events(self.events())


def parse_events(events: Sequence[bytes]) -> list[Any]:
    """The JSON of each event; the last one must be [DONE]."""
    assert events[-1] == DONE, events[-1]
    return [json.loads(event.removeprefix(b"data: ")) for event in events[:-1]]


def encode_body(body: object) -> bytes | None:
    """A request body as bytes: as it is, or as JSON."""
    return body if body is None or isinstance(body, bytes) else json.dumps(body).encode()


def exchange(
    port: int, method: str, path: str, body: object = None, headers: Mapping[str, str] = {}, timeout: float = 30.0
) -> Reply:
    """One request on a connection of its own; a `body` that is no bytes is sent as JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        return exchange_on(connection, method, path, body, headers)
    finally:
        connection.close()


def exchange_on(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] = {},
) -> Reply:
    """One request on a connection that stays open."""
    data = encode_body(body)
    defaults = JSON_HEADERS if data is not None and not isinstance(body, bytes) else {}
    connection.request(method, path, data, {**defaults, **headers})
    response = connection.getresponse()
    content = response.read()
    return Reply(response.status, [(name.lower(), value) for name, value in response.getheaders()], content)


def request_bytes(method: str, path: str, body: object = None, headers: Mapping[str, str] = {}) -> bytes:
    """A request as it goes over the wire."""
    data = encode_body(body)
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    if data is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + (data or b"")


def connect(port: int, timeout: float = 30.0) -> socket.socket:
    """A connection without Nagle's delay."""
    connection = socket.create_connection(("127.0.0.1", port), timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class Connection:
    """A kept-alive connection on which requests may be pipelined."""

    def __init__(self, port: int) -> None:
        self.socket = connect(port)
        self._reader = self.socket.makefile("rb")

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, method: str, path: str, body: object = None, headers: Mapping[str, str] = {}) -> None:
        self.socket.sendall(request_bytes(method, path, body, headers))

    def read_reply(self) -> Reply:
        """The next answer; raises EOFError when the server closed instead of answering."""
        status = self._reader.readline()
        if not status:
            raise EOFError("the server closed the connection")
        headers = []
        while line := self._reader.readline().decode("latin-1").rstrip("\r\n"):
            name, _, value = line.partition(":")
            headers.append((name.lower(), value.strip()))
        reply = Reply(int(status.split()[1]), headers, b"")
        if reply.header("transfer-encoding") == "chunked":
            reply.body = b"".join(self._chunks())
        else:
            reply.body = self._reader.read(int(reply.header("content-length") or 0))
        return reply

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._reader.readline() or b"0", 16):
            yield self._reader.read(size)
            self._reader.readline()
        self._reader.readline()

    def read_until(self, needle: bytes) -> bytes:
        """What comes up to the line that contains `needle`; raises EOFError when the connection ends before."""
        seen = b""
        while needle not in seen:
            line = self._reader.readline()
            if not line:
                raise EOFError(f"no {needle!r} in {seen!r}")
            seen += line
        return seen

    def read_rest(self) -> bytes:
        """Everything up to the end of the connection."""
        try:
            return self._reader.read()
        except ConnectionResetError:
            return b""

    def close(self) -> None:
        self._reader.close()
        self.socket.close()


@dataclass
class TimedStream:
    """A streamed answer; times are time.monotonic() seconds, those of events are the arrival of their last byte."""

    sent: float = 0.0
    received: list[tuple[float, bytes]] = field(default_factory=list)
    connection: socket.socket | None = None

    @property
    def raw(self) -> bytes:
        return b"".join(data for _, data in self.received)

    @property
    def complete(self) -> bool:
        return self.raw.endswith(END_OF_CHUNKS)

    def events(self) -> list[tuple[float, bytes]]:
        """(arrival, event) of every event of the body, [DONE] included."""
        arrivals: list[tuple[int, float]] = []
        size = 0
        for when, data in self.received:
            size += len(data)
            arrivals.append((size, when))
        found = []
        pieces, body = _unchunk(self.raw)
        start = 0
        while (end := body.find(b"\n\n", start)) >= 0:
            wire_offset = _wire_offset(pieces, end + 1)
            found.append((next(when for limit, when in arrivals if limit > wire_offset), body[start:end]))
            start = end + 2
        return found

    def chunks(self) -> list[Any]:
        """The JSON of every event but the final [DONE]."""
        return parse_events([event for _, event in self.events()])

    def token_times(self) -> list[float]:
        """When each token's chunk came: every event but a chat's role chunk, a usage chunk and [DONE]."""
        return [when for when, event in self.events() if event != DONE and not _without_token(event)]


def _without_token(event: bytes) -> bool:
    return b'"delta":{"role"' in event or b'"choices":[]' in event


def _unchunk(raw: bytes) -> tuple[list[tuple[int, int]], bytes]:
    """The pieces of a chunked answer as (start in the body, start on the wire), and its body."""
    position = raw.index(b"\r\n\r\n") + 4
    pieces, body, length = [], [], 0
    while (line_end := raw.find(b"\r\n", position)) >= 0:
        size = int(raw[position:line_end], 16)
        if size == 0:
            break
        pieces.append((length, line_end + 2))
        body.append(raw[line_end + 2 : line_end + 2 + size])
        length += size
        position = line_end + 2 + size + 2
    return pieces, b"".join(body)


def _wire_offset(pieces: list[tuple[int, int]], body_offset: int) -> int:
    start, wire = next(piece for piece in reversed(pieces) if piece[0] <= body_offset)
    return wire + body_offset - start


def collect_streams(
    port: int, path: str, bodies: Sequence[object], stagger: float = 0.0, timeout: float = 30.0
) -> list[TimedStream]:
    """Send the requests in parallel, `stagger` seconds apart, and read all streams to their end.

    One thread with one selector and no parsing meanwhile, so that the measuring disturbs little.
    """
    streams = [TimedStream(connection=connect(port)) for _ in bodies]
    selector = selectors.DefaultSelector()
    waiting = list(zip(streams, [request_bytes("POST", path, body) for body in bodies], strict=True))
    started = time.monotonic()
    open_streams = len(streams)
    try:
        while open_streams:
            if waiting and time.monotonic() >= started + stagger * (len(streams) - len(waiting)):
                stream, request = waiting.pop(0)
                stream.sent = time.monotonic()
                stream.connection.sendall(request)
                selector.register(stream.connection, selectors.EVENT_READ, stream)
                continue
            assert time.monotonic() < started + timeout, "the streams did not end"
            for key, _ in selector.select(stagger if waiting else 1.0):
                if _receive(key.data):
                    selector.unregister(key.fileobj)
                    open_streams -= 1
    finally:
        selector.close()
        for stream in streams:
            stream.connection.close()
    return streams


def _receive(stream: TimedStream) -> bool:
    """Take what has arrived; True when the stream has ended."""
    data = stream.connection.recv(65_536)
    stream.received.append((time.monotonic(), data))
    return not data or data.endswith(END_OF_CHUNKS)
