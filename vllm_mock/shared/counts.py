"""Exact counts of all workers together, in shared memory: no event is lost or counted twice, whoever dies."""

import mmap
import struct
import threading
from collections.abc import Callable

from vllm_mock.shared.file_lock import file_lock
from vllm_mock.shared.memory import anonymous_file

ROWS = 256

# Whose row it is, how many events there were, how many of them were taken.
_ROW = struct.Struct("=QQQ")
_SIZE = (ROWS * _ROW.size + mmap.PAGESIZE - 1) // mmap.PAGESIZE * mmap.PAGESIZE


class SharedCounts:
    """Rows of two counters. A row belongs to an owner, a number other than 0: who comes late changes nothing."""

    def __init__(self) -> None:
        self._file = anonymous_file("vllm-mock-counts", _SIZE)
        self._memory = mmap.mmap(self._file, _SIZE)
        self._lock = threading.Lock()

    def give(self, row: int, owner: int) -> None:
        """Start a row anew for an owner."""
        self._change(row, lambda _: (owner, 0, 0))

    def take(self, row: int, owner: int, wants: Callable[[int, int], bool]) -> bool:
        """Count an event; whether `wants(number, taken)` it: its number, from 1, and how many were taken before."""
        wanted = False

        def change(now: tuple[int, int, int]) -> tuple[int, int, int]:
            nonlocal wanted
            present, events, taken = now
            if present != owner:
                return now
            wanted = wants(events + 1, taken)
            return owner, events + 1, taken + wanted

        self._change(row, change)
        return wanted

    def read(self, row: int, owner: int) -> tuple[int, int]:
        """(events, taken) of a row, zeros if it is not the owner's."""
        present, events, taken = _ROW.unpack_from(self._memory, row * _ROW.size)
        return (events, taken) if present == owner else (0, 0)

    def _change(self, row: int, change: Callable[[tuple[int, int, int]], tuple[int, int, int]]) -> None:
        with self._lock, file_lock(self._file):
            place = row * _ROW.size
            _ROW.pack_into(self._memory, place, *change(_ROW.unpack_from(self._memory, place)))
