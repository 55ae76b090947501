"""Closes connections whose client may still be sending, in a way that lets it read the answer first.

A socket that is closed with unread bytes in it resets the connection, and a client that gets a reset may never see
what was sent to it before.
"""

import contextlib
import selectors
import socket
import threading
import time
from typing import Any

from gunicorn import util

from vllm_mock.turns import give_way

LINGER_SECONDS = 2.0
# How often new connections are looked for while others linger.
POLL_SECONDS = 0.05
_BUFFER = bytearray(65_536)


def close_gracefully(sock: Any) -> None:
    """Say goodbye, throw away what still comes until the client closes or 2 s are over, and close."""
    deadline = time.monotonic() + LINGER_SECONDS
    # An error says that the client is gone already.
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        while (left := deadline - time.monotonic()) > 0:
            sock.settimeout(left)
            if not sock.recv_into(_BUFFER):
                break
            give_way()
    util.close(sock)


class Lingering:
    """Does so for many connections in one thread, which is there while it is needed; `close` does not wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arrived: list[Any] = []
        self._runs = False

    def close(self, sock: Any) -> None:
        """Say goodbye now, close later."""
        try:
            sock.shutdown(socket.SHUT_WR)
            sock.setblocking(False)
        except OSError:
            util.close(sock)
            return
        with self._lock:
            self._arrived.append(sock)
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._run, name="lingering", daemon=True).start()

    def _run(self) -> None:
        # In the order of their deadlines.
        deadlines: dict[Any, float] = {}
        with selectors.DefaultSelector() as selector:
            while self._take(selector, deadlines):
                for key, _ in selector.select(POLL_SECONDS):
                    if _is_over(key.fileobj):
                        self._drop(selector, deadlines, key.fileobj)
                now = time.monotonic()
                for sock in [sock for sock, deadline in deadlines.items() if deadline <= now]:
                    self._drop(selector, deadlines, sock)

    def _take(self, selector: selectors.BaseSelector, deadlines: dict[Any, float]) -> bool:
        """Take those that have arrived; False, and the thread is to end, when there are none at all."""
        with self._lock:
            arrived, self._arrived = self._arrived, []
            self._runs = bool(arrived or deadlines)
        for sock in arrived:
            deadlines[sock] = time.monotonic() + LINGER_SECONDS
            selector.register(sock, selectors.EVENT_READ)
        return self._runs

    def _drop(self, selector: selectors.BaseSelector, deadlines: dict[Any, float], sock: Any) -> None:
        del deadlines[sock]
        selector.unregister(sock)
        util.close(sock)


def _is_over(sock: Any) -> bool:
    """Throws away what has come; True when the client has closed."""
    try:
        return not sock.recv_into(_BUFFER)
    except (BlockingIOError, InterruptedError):
        return False
    except OSError as error:
        # TLS may have got half a record.
        return "Want" not in type(error).__name__
