"""One page for all data-parallel ranks: a scrape reaches one worker, which asks the others for theirs.

Each worker listens on a local socket of its own. Series of the engines differ by their label `engine` and stand
beside each other; series without it (HTTP requests, refusals at the queue) are added up; what describes one
process is told of the answering worker alone.
"""

import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping

TIMEOUT_SECONDS = 0.5
_OWN_PREFIXES = ("process_", "python_")


def _address(rank: int) -> str:
    """The socket of a rank; workers of one server know each other by their parent's process id."""
    name = f"vllm-mock-{os.getppid()}-{rank}"
    # Linux keeps abstract sockets outside the file system: nothing to clean up, nothing to write.
    return f"\0{name}" if sys.platform == "linux" else os.path.join(tempfile.gettempdir(), f"{name}.sock")


class Peers:
    """The other workers of a server with `size` ranks, of which this is `rank`. `render` gives this worker's page."""

    def __init__(self, rank: int, size: int, render: Callable[[], bytes]) -> None:
        self._rank = rank
        self._others = [other for other in range(size) if other != rank]
        self._render = render

    def listen(self) -> None:
        """Answer the other workers from a daemon thread; does nothing when there are none."""
        if not self._others:
            return
        address = _address(self._rank)
        if not address.startswith("\0") and os.path.exists(address):
            os.unlink(address)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(address)
        listener.listen()
        threading.Thread(target=self._serve, args=(listener,), name="metrics-peers", daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                try:
                    connection.sendall(self._render())
                except OSError:
                    continue

    def page(self) -> bytes:
        """The page of all workers that answer within half a second each."""
        own = self._render()
        pages = {rank: page for rank in self._others if (page := _ask(rank)) is not None}
        return merge(pages | {self._rank: own}, self._rank) if pages else own


def _ask(rank: int) -> bytes | None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(TIMEOUT_SECONDS)
        try:
            connection.connect(_address(rank))
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
        except OSError:
            return None
    return b"".join(parts)


def merge(pages: Mapping[int, bytes], own_rank: int) -> bytes:
    """Pages by rank, in Prometheus' text format, as one; series in the order of the ranks."""
    heads: dict[str, list[str]] = {}
    series: dict[str, dict[str, str]] = {}
    for rank in sorted(pages):
        family = ""
        for line in pages[rank].decode().splitlines():
            if line.startswith("#"):
                family = line.split(" ", 3)[2]
                head = heads.setdefault(family, [])
                if line not in head:
                    head.append(line)
            elif rank == own_rank or not family.startswith(_OWN_PREFIXES):
                _add(series.setdefault(family, {}), line)
    lines = [line for family, head in heads.items() for line in (*head, *_lines(series.get(family, {})))]
    return ("\n".join(lines) + "\n").encode()


def _add(samples: dict[str, str], line: str) -> None:
    name, _, value = line.rpartition(" ")
    known = samples.get(name)
    if known is None:
        samples[name] = value
    elif not name.partition("{")[0].endswith("_created"):
        samples[name] = repr(float(known) + float(value))


def _lines(samples: dict[str, str]) -> list[str]:
    return [f"{name} {value}" for name, value in samples.items()]
