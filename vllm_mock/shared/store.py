"""The state that a client or an operator sets for the whole server: one store for all its workers.

It lives in anonymous files that the master makes before it forks: nothing to clean up, nothing to write to disk, and
it survives the death of any worker.
"""

import json
import mmap
import os
import secrets
import struct
import threading
from collections.abc import Callable
from typing import Any

from vllm_mock.shared.counts import SharedCounts
from vllm_mock.shared.file_lock import file_lock
from vllm_mock.shared.memory import anonymous_file

_VERSION = struct.Struct("=Q")
_LENGTH = struct.Struct("=Q")


class SharedStore:
    """Named sections, each a JSON value; reading one costs nothing until something has changed.

    The document of version v is in file v % 2, so that a writer that dies leaves the present one whole, and readers
    need no lock.
    """

    def __init__(self) -> None:
        # The same for all who inherit this store, and nobody else.
        self.identity = secrets.token_hex(8)
        # What is counted, too often for a document.
        self.counts = SharedCounts()
        header = anonymous_file("vllm-mock-version", mmap.PAGESIZE)
        self._header = mmap.mmap(header, mmap.PAGESIZE)
        self._files = [anonymous_file(f"vllm-mock-store-{number}") for number in (0, 1)]
        self._lock = threading.Lock()
        self._lock_file = header
        # The version that was read last, and its document: one attribute, so that threads see them together.
        self._read_last: tuple[int, dict[str, Any]] = (-1, {})
        self._write(0, {})

    @property
    def version(self) -> int:
        """Rises with every update."""
        return _VERSION.unpack_from(self._header)[0]

    def get(self, section: str) -> Any:
        """A section's value, None if it has none; the same object until something changes, not to be modified."""
        version, document = self._read_last
        if version != self.version:
            document = self._refresh(document)
        return document.get(section)

    def update(self, section: str, change: Callable[[Any], Any]) -> Any:
        """Replace a section's value by `change(value)`, one update at a time in the whole server; returns the new one.

        `change` must be short and must not modify its argument; what it raises goes to the caller, nothing changes.
        """
        with self._lock, file_lock(self._lock_file):
            version, document = self._read()
            value = json.loads(json.dumps(change(document.get(section))))
            self._write(version + 1, {**document, section: value})
        return self.get(section)

    def _refresh(self, before: dict[str, Any]) -> dict[str, Any]:
        version, document = self._read()
        # Sections that did not change keep their objects: whoever compiled one need not do so again.
        for section, value in before.items():
            if document.get(section) == value:
                document[section] = value
        self._read_last = version, document
        return document

    def _read(self) -> tuple[int, dict[str, Any]]:
        while True:
            version = self.version
            file = self._files[version % 2]
            content = os.pread(file, _LENGTH.unpack(os.pread(file, _LENGTH.size, 0))[0], _LENGTH.size)
            # The next version goes into the other file: while the version stands, this one is whole.
            if self.version == version:
                return version, json.loads(content)

    def _write(self, version: int, document: dict[str, Any]) -> None:
        content = json.dumps(document).encode()
        data = memoryview(_LENGTH.pack(len(content)) + content)
        done = 0
        while done < len(data):
            done += os.pwrite(self._files[version % 2], data[done:], done)
        _VERSION.pack_into(self._header, 0, version)


_store: SharedStore | None = None


def shared_store() -> SharedStore:
    """The store of this server: gunicorn's master makes it, its workers inherit it."""
    global _store
    if _store is None:
        _store = SharedStore()
    return _store
