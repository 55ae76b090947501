"""Notices clients that go away while their request is queued, in prefill or between tokens."""

import _socket
import threading
import time
from collections.abc import Callable
from typing import Any

INTERVAL_SECONDS = 0.2
_PEEK = _socket.MSG_PEEK | getattr(_socket, "MSG_DONTWAIT", 0)
# The first byte of Linux' tcp_info is the state of the connection; in these the client has sent its last byte.
_TCP_INFO = getattr(_socket, "TCP_INFO", None)
_ENDED_STATES = frozenset((7, 8, 9, 11))  # CLOSE, CLOSE_WAIT, LAST_ACK, CLOSING


class ConnectionWatcher:
    """Peeks every 0.2 s at the sockets of requests in flight and calls back for those that ended.

    One daemon thread serves all; it starts with the first request, hence after a worker's fork, and rests
    while there is nothing to watch. Peeking leaves a pipelined request in the socket's buffer.
    """

    def __init__(self) -> None:
        self._watched: dict[int, tuple[Any, Callable[[], None]]] = {}
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._next_key = 0

    def add(self, connection: Any, on_gone: Callable[[], None]) -> int:
        """Watch a request's socket (None where the server does not tell it); returns the key for remove()."""
        if connection is None:
            return 0
        self._next_key = key = self._next_key + 1
        # gevent wraps the real socket; reading through the wrapper would wait for data.
        self._watched[key] = (getattr(connection, "_sock", connection), on_gone)
        if self._thread is None:
            self._start()
        elif len(self._watched) == 1:
            self._wake.set()
        return key

    def remove(self, key: int) -> None:
        """The request is over; unknown keys are ignored."""
        self._watched.pop(key, None)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="connection-watcher", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            if not self._watched:
                self._wake.clear()
                if not self._watched:
                    self._wake.wait()
            for key, (connection, on_gone) in list(self._watched.items()):
                if _is_gone(connection):
                    self._watched.pop(key, None)
                    on_gone()
            time.sleep(INTERVAL_SECONDS)


def _is_gone(connection: Any) -> bool:
    """True when the client closed or half-closed the connection."""
    try:
        # Behind what is still unread (a pipelined request, TLS's farewell) the end is not to be seen.
        return _socket.socket.recv(connection, 1, _PEEK) == b"" or _has_ended(connection)
    except (BlockingIOError, InterruptedError):
        return False
    except OSError:
        return True


def _has_ended(connection: Any) -> bool:
    """The same for a connection with unread bytes; False where the system does not tell."""
    if _TCP_INFO is None or connection.family == _socket.AF_UNIX:
        return False
    return _socket.socket.getsockopt(connection, _socket.IPPROTO_TCP, _TCP_INFO, 1)[0] in _ENDED_STATES
