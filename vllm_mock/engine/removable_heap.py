"""A heap from which any item can be withdrawn."""

from heapq import heapify, heappop, heappush
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class RemovableHeap(Generic[Item]):
    """Items in the order of their keys, then of their arrival; an item is in it at most once.

    A withdrawn item leaves a dead entry behind, so that withdrawal costs no search; the heap is
    rebuilt when more than half of it is dead.
    """

    __slots__ = ("_entries", "_live", "_pushed")

    def __init__(self) -> None:
        self._entries: list[tuple[Any, int, Item]] = []
        self._live: dict[Item, int] = {}
        self._pushed = 0

    def __len__(self) -> int:
        return len(self._live)

    def push(self, key: Any, item: Item) -> None:
        """Adds an item; keys are comparable with each other."""
        self._pushed += 1
        self._live[item] = self._pushed
        heappush(self._entries, (key, self._pushed, item))

    def first(self) -> tuple[Any, Item] | None:
        """Key and item with the lowest key, or None."""
        entries = self._entries
        while entries:
            key, number, item = entries[0]
            if self._live.get(item) == number:
                return key, item
            heappop(entries)
        return None

    def pop(self) -> Item:
        """Takes out the item that first() showed."""
        item = heappop(self._entries)[2]
        del self._live[item]
        return item

    def remove(self, item: Item) -> bool:
        """Withdraws an item; False if it is not here."""
        if self._live.pop(item, None) is None:
            return False
        if len(self._entries) > 2 * len(self._live) + 16:
            self._entries = [entry for entry in self._entries if self._live.get(entry[2]) == entry[1]]
            heapify(self._entries)
        return True

    def items(self) -> list[Item]:
        """All items, in no order."""
        return list(self._live)
