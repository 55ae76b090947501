"""What a simulation has found out about each request, and about the engine over time."""

from dataclasses import dataclass, field
from itertools import pairwise

from vllm_mock.simulate.trace import TraceRequest


@dataclass(slots=True)
class RequestResult:
    """One request of a trace, whose times are seconds from the start of the trace.

    `token_times`: when each token came; empty for a request that was `refused` (the text says why). `queued`: when it
    reached the engine's queue. `scheduled`: when it first left that. `cached_tokens` of its prompt were in the prefix
    cache then.
    """

    request: TraceRequest
    arrival: float
    queued: float = 0.0
    scheduled: float = 0.0
    token_times: list[float] = field(default_factory=list)
    cached_tokens: int = 0
    preemptions: int = 0
    refused: str | None = None

    @property
    def queue_seconds(self) -> float:
        """From the engine's queue to when its first step was scheduled."""
        return self.scheduled - self.queued

    @property
    def ttft_seconds(self) -> float:
        """From its arrival to its first token."""
        return self.token_times[0] - self.arrival

    @property
    def e2e_seconds(self) -> float:
        """From its arrival to its last token."""
        return self.token_times[-1] - self.arrival

    @property
    def itl_seconds(self) -> list[float]:
        """The gaps between its tokens."""
        times = self.token_times
        return [later - earlier for earlier, later in pairwise(times)]

    @property
    def tpot_seconds(self) -> float | None:
        """The mean gap between its tokens; None if it has only one."""
        gaps = len(self.token_times) - 1
        return (self.token_times[-1] - self.token_times[0]) / gaps if gaps else None


@dataclass(slots=True, frozen=True)
class Sample:
    """The engine at the end of a step. `kv_usage` is the share of KV blocks in use; `tokens` are those that came."""

    at: float
    running: int
    waiting: int
    kv_usage: float
    tokens: int
