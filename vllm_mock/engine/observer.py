"""What an engine tells to whoever counts; metrics implement it, the engine does not know how."""

from collections.abc import Sequence
from typing import Protocol

from vllm_mock.engine.handle import RequestHandle


class EngineObserver(Protocol):
    """Called with the engine's lock held, in the order of events: each call must be short and never block."""

    def scheduled(self, handle: RequestHandle) -> None:
        """The request left the waiting queue; its prefix-cache hits and its timeline are known."""

    def finished(self, handle: RequestHandle) -> None:
        """The last token is due (handle.finished_at) and the slot is free."""

    def aborted(self, handle: RequestHandle) -> None:
        """The request was aborted at handle.finished_at, queued (no timeline) or running."""

    def stopped(self, handle: RequestHandle) -> None:
        """The operator ended the request at handle.finished_at, queued or after handle.cut tokens."""

    def preempted(self, handle: RequestHandle) -> None:
        """The request lost its blocks, or their content, and is computed anew; in a simulation it waits for that."""

    def stepped(self, at: float, decoders: int, gap: float, completed: Sequence[RequestHandle]) -> None:
        """In a simulation: a step ended at `at`, `gap` seconds after the last one.

        Each of the `decoders` got a token, `gap` seconds after its last one, and so did those whose prefill it has
        `completed`; handle.counted says how many tokens these had before.
        """

    def late(self, seconds: float) -> None:
        """In a simulation: a step was noticed to be over that long after it was, on the wall's clock."""

    def failed(self, handle: RequestHandle) -> None:
        """In a simulation: a step of the request could not be computed, which ended it at handle.finished_at."""

    def rejected(self, reason: str, prompts: int) -> None:
        """A queue limit refused that many prompts of one submission."""

    def block_evicted(self, lifetime: float, idle: float, reuse_gaps: Sequence[float]) -> None:
        """With --kv-cache-metrics: what became of a cached block, in seconds; see KVResidency."""


class NullObserver:
    """Counts nothing."""

    def scheduled(self, handle: RequestHandle) -> None: ...
    def finished(self, handle: RequestHandle) -> None: ...
    def aborted(self, handle: RequestHandle) -> None: ...
    def stopped(self, handle: RequestHandle) -> None: ...
    def preempted(self, handle: RequestHandle) -> None: ...
    def stepped(self, at: float, decoders: int, gap: float, completed: Sequence[RequestHandle]) -> None: ...
    def late(self, seconds: float) -> None: ...
    def failed(self, handle: RequestHandle) -> None: ...
    def rejected(self, reason: str, prompts: int) -> None: ...
    def block_evicted(self, lifetime: float, idle: float, reuse_gaps: Sequence[float]) -> None: ...
