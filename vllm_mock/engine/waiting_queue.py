"""The requests that wait, one queue for each LoRA adapter: one that lacks a slot holds up only its own."""

from collections.abc import Callable

from vllm_mock.engine.handle import RequestHandle
from vllm_mock.engine.removable_heap import RemovableHeap

Key = tuple[float, ...]


class WaitingQueue:
    """Orders requests by their keys, across the adapters; None stands for the base model."""

    __slots__ = ("_pushed", "_queues")

    def __init__(self) -> None:
        self._queues: dict[str | None, RemovableHeap[RequestHandle]] = {None: RemovableHeap()}
        self._pushed = 0

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def __bool__(self) -> bool:
        # Asked several times a request; queues of adapters go when they are empty.
        return len(self._queues) > 1 or bool(self._queues[None])

    def push(self, key: Key, handle: RequestHandle, *, in_front: bool = False) -> None:
        """Adds a request; among equal keys the first one stays the first, unless a later one comes `in_front`."""
        self._pushed += 1
        name = handle.request.lora_name
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = RemovableHeap()
        queue.push((*key, -self._pushed if in_front else self._pushed), handle)

    def first(self, may_run: Callable[[str | None], bool]) -> RequestHandle | None:
        """The first request of those whose adapter may run now."""
        if len(self._queues) == 1:
            only = self._queues[None].first()
            return None if only is None else only[1]
        heads = [queue.first() for name, queue in self._queues.items() if may_run(name)]
        return min((head for head in heads if head is not None), key=lambda head: head[0], default=(None, None))[1]

    def remove(self, handle: RequestHandle) -> bool:
        """Withdraws a request; False if it does not wait."""
        name = handle.request.lora_name
        queue = self._queues.get(name)
        if queue is None or not queue.remove(handle):
            return False
        if not queue and name is not None:
            del self._queues[name]
        return True

    def items(self) -> list[RequestHandle]:
        """All requests, in no order."""
        return [handle for queue in self._queues.values() for handle in queue.items()]

    def adapters(self) -> list[str]:
        """Adapters with requests that wait."""
        return [name for name, queue in self._queues.items() if name is not None and queue]

    def count(self, name: str) -> int:
        """How many requests wait for an adapter."""
        return len(self._queues[name])
