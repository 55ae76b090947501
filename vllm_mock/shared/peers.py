"""How the workers of one server reach each other: each answers commands on a local socket of its own."""

import json
import logging
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import Any

TIMEOUT_SECONDS = 0.5

Handler = Callable[[Any], Any]

logger = logging.getLogger(__name__)


def _address(server: str, rank: int) -> str:
    """The socket of a rank of a server."""
    name = f"vllm-mock-{server}-{rank}"
    # Linux keeps abstract sockets outside the file system: nothing to clean up, nothing to write.
    return f"\0{name}" if sys.platform == "linux" else os.path.join(tempfile.gettempdir(), f"{name}.sock")


class Peers:
    """The workers of a server with `size` ranks, of which this is `rank`.

    `server` is a name that no other server has: containers may share a network, and the number of the first process.
    """

    def __init__(self, rank: int, size: int, server: str) -> None:
        self._rank = rank
        self._server = server
        self._others = [other for other in range(size) if other != rank]
        self._handlers: dict[str, Handler] = {}

    def register(self, command: str, handler: Handler) -> None:
        """What this worker does on a command: `handler(argument)`; both argument and answer are JSON values."""
        self._handlers[command] = handler

    def listen(self) -> None:
        """Answer the other workers from daemon threads; does nothing when there are none."""
        if not self._others:
            return
        address = _address(self._server, self._rank)
        if not address.startswith("\0") and os.path.exists(address):
            os.unlink(address)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(address)
        listener.listen()
        threading.Thread(target=self._serve, args=(listener,), name="peers", daemon=True).start()

    def ask_others(self, command: str, argument: Any = None, timeout: float = TIMEOUT_SECONDS) -> dict[int, Any]:
        """The answers of the other workers by rank; one that does not answer within `timeout` seconds is left out."""
        answers = {rank: _ask(_address(self._server, rank), command, argument, timeout) for rank in self._others}
        return {rank: answer[0] for rank, answer in answers.items() if answer}

    def ask_all(self, command: str, argument: Any = None, timeout: float = TIMEOUT_SECONDS) -> dict[int, Any]:
        """The same with this worker's own answer, in the order of the ranks. Own errors go to the caller."""
        answers = self.ask_others(command, argument, timeout)
        answers[self._rank] = self._handlers[command](argument)
        return dict(sorted(answers.items()))

    def _serve(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self._answer, args=(connection,), name="peer", daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                command, argument = json.loads(_received(connection))
                answer = self._handlers[command](argument)
                connection.sendall(json.dumps([answer]).encode())
            except OSError:
                return
            except Exception:
                # The asking worker sees a missing answer; the reason belongs in the log of this one.
                logger.exception("a command of another worker failed")


def _received(connection: socket.socket) -> bytes:
    """Everything up to the other side's end of writing."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def _ask(address: str, command: str, argument: Any, timeout: float) -> list[Any]:
    """The answer in a list, which is empty if none came, or not to its end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(address)
            connection.sendall(json.dumps([command, argument]).encode())
            connection.shutdown(socket.SHUT_WR)
            return json.loads(_received(connection) or b"[]")
        except (OSError, ValueError):
            return []
