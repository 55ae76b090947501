"""Load client for machines without a C compiler: the same arguments, input and output as load.c.

usage: load_client.py PORT CONNECTIONS RAMP_S WARM_S MEASURE_S INTERVAL_MS < request
"""

import json
import select
import socket
import sys
import time

EVENT = b"data: {"
LAST_CHUNK = b"0\r\n\r\n"
READ_MAX = 65536
now = time.monotonic


class Connection:
    """One connection and the response that it is reading."""

    __slots__ = (
        "begun",
        "body_left",
        "connected",
        "head",
        "in_body",
        "last",
        "line",
        "sent",
        "served",
        "socket",
        "tail",
        "tokens",
    )

    def __init__(self) -> None:
        self.served = False


class Load:
    """Keeps requests in flight on all connections and collects times in seconds."""

    def __init__(self, port: int, request: bytes) -> None:
        self._address = ("127.0.0.1", port)
        self._request = request
        self.poller = select.epoll()
        self.connections: dict[int, Connection] = {}
        self.window_start = float("inf")
        self.gaps: list[float] = []
        self.first_token: list[float] = []
        self.latency: list[float] = []
        self.tokens = self.reads = self.completed = self.errors = 0

    def open(self, connection: Connection) -> None:
        """Connect, without waiting: a server that does not accept must not hold up the reading of others."""
        connection.connected = False
        connection.socket = socket.socket()
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.socket.setblocking(False)
        connection.socket.connect_ex(self._address)
        self.connections[connection.socket.fileno()] = connection
        self.poller.register(connection.socket, select.EPOLLOUT)

    def on_event(self, connection: Connection) -> None:
        """The first request of a connection goes out once there is one; then answers come in."""
        if connection.connected:
            self.on_readable(connection)
            return
        if error := connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, "connect")
        connection.connected = True
        self.poller.modify(connection.socket, select.EPOLLIN)
        self._send(connection)

    def _send(self, connection: Connection) -> None:
        connection.in_body = False
        connection.head = connection.line = connection.tail = b""
        connection.tokens = 0
        connection.begun = False
        connection.sent = now()
        connection.socket.sendall(self._request)

    def _reconnect(self, connection: Connection) -> None:
        del self.connections[connection.socket.fileno()]
        connection.socket.close()
        self.open(connection)

    def on_readable(self, connection: Connection) -> None:
        """Take what has arrived; when that completes the response, send the next request."""
        try:
            data = connection.socket.recv(READ_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        at = now()
        if not data:
            self.errors += 1
            self._reconnect(connection)
            return
        in_window = at >= self.window_start
        if in_window:
            self.reads += 1
            connection.served = True
        if not connection.in_body:
            data = self._read_head(connection, data)
            if not connection.in_body:
                return
        if self._read_body(connection, data, at, in_window):
            self._complete(connection, at, in_window)

    def _read_head(self, connection: Connection, data: bytes) -> bytes:
        """Take header bytes; returns what belongs to the body."""
        connection.head += data
        head, end, rest = connection.head.partition(b"\r\n\r\n")
        if not end:
            return b""
        if not head.startswith(b"HTTP/1.1 200"):
            self.errors += 1
            print("unusable response:", head[:300].decode("latin-1"), file=sys.stderr)
            self._reconnect(connection)
            return b""
        connection.head = head.lower()
        length = connection.head.partition(b"\r\ncontent-length:")[2]
        connection.body_left = int(length.partition(b"\r\n")[0]) if length else -1
        connection.in_body = True
        return rest

    def _read_body(self, connection: Connection, data: bytes, at: float, in_window: bool) -> bool:
        """Count what a piece of the body holds; returns whether the response ended with it."""
        if connection.body_left >= 0:
            connection.body_left -= len(data)
            return connection.body_left <= 0
        lines, _, rest = (connection.line + data).rpartition(b"\n")
        connection.line = rest
        connection.tail = (connection.tail + data)[-len(LAST_CHUNK) :]
        tokens = lines.count(EVENT)
        if tokens and not connection.begun:
            connection.begun = True
            # A first event that names the role is no token.
            tokens -= b'"role":' in lines.partition(EVENT)[2].partition(b"\n")[0]
        if tokens:
            self._count_tokens(connection, tokens, at, in_window)
        return connection.tail == LAST_CHUNK

    def _count_tokens(self, connection: Connection, tokens: int, at: float, in_window: bool) -> None:
        if in_window:
            self.tokens += tokens
        if connection.tokens == 0:
            self.first_token.append(at - connection.sent)
        elif in_window:
            self.gaps.append(at - connection.last)
        if tokens > 1 and in_window:
            self.gaps += [0.0] * (tokens - 1)
        connection.tokens += tokens
        connection.last = at

    def _complete(self, connection: Connection, at: float, in_window: bool) -> None:
        if in_window:
            self.completed += 1
            self.latency.append(at - connection.sent)
        if b"\r\nconnection: close" in connection.head:
            self._reconnect(connection)
        else:
            self._send(connection)

    def run(self, count: int, ramp: float, warm: float, measure: float) -> tuple[float, float]:
        """Load for ramp + warm + measure seconds; returns the window's length and this process's CPU in it."""
        begin = now()
        start = begin + ramp + warm
        started, cpu = 0, 0.0
        while (at := now()) < start + measure:
            while started < count and at >= begin + ramp * started / count:
                self.open(Connection())
                started += 1
            if at >= start and self.window_start == float("inf"):
                self.window_start, cpu = at, time.process_time()
                print("start", flush=True)
            for number, _ in self.poller.poll(0.001, 512):
                self.on_event(self.connections[number])
        seconds, cpu = now() - self.window_start, time.process_time() - cpu
        print("end", flush=True)
        return seconds, cpu


def quantiles(values: list[float]) -> dict[str, float | None]:
    """Quantiles of seconds, in milliseconds."""
    ordered = sorted(values)
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    if not ordered:
        return dict.fromkeys(shares)
    return {name: round(1000 * ordered[int(share * (len(ordered) - 1))], 4) for name, share in shares.items()}


def main() -> None:
    """Load, then print the figures as one line of JSON."""
    port, count = int(sys.argv[1]), int(sys.argv[2])
    ramp, warm, measure, interval_ms = map(float, sys.argv[3:7])
    load = Load(port, sys.stdin.buffer.read())
    seconds, cpu = load.run(count, ramp, warm, measure)
    gaps = load.gaps
    figures = {
        "seconds": seconds,
        "tokens": load.tokens,
        "reads": load.reads,
        "completed": load.completed,
        "errors": load.errors,
        "starved": count - sum(connection.served for connection in load.connections.values()),
        "client_cpu": cpu / seconds,
        "mean_gap": 1000 * sum(gaps) / len(gaps) if gaps else 0.0,
        "gap_error": quantiles([abs(gap - interval_ms / 1000) for gap in gaps]),
        "first_token": quantiles(load.first_token),
        "latency": quantiles(load.latency),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
