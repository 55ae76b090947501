"""What a view holds of a submitted request: its timings, its timestamps, its end."""

import threading
from collections.abc import Sequence
from typing import Protocol

from vllm_mock.engine.block_hash import BlockHash
from vllm_mock.engine.kv_cache import Allocation
from vllm_mock.engine.request import EngineRequest
from vllm_mock.engine.timeline import Timeline, TokenTiming

WAITING, RUNNING, FINISHED, ABORTED = range(4)


class HandleOwner(Protocol):
    """The engine as its handles see it."""

    def wait_for_start(self, handle: "RequestHandle") -> None: ...
    def finish(self, handle: "RequestHandle") -> None: ...
    def abort(self, handle: "RequestHandle") -> None: ...


class SamplingGroup:
    """The n sequences sampled from one prompt; n and the longest output count once for all of them.

    `first_due` is when the latest of them so far has its first token.
    """

    __slots__ = ("first_due", "longest", "n", "unfinished")

    def __init__(self, n: int) -> None:
        self.n = n
        self.unfinished = n
        self.longest = 0
        self.first_due = 0.0


class RequestHandle:
    """One request in the engine. All timestamps are time.monotonic() seconds, 0.0 while unknown.

    `queued`: handed to the engine; `scheduled`: left the waiting queue; `finished_at`: slot freed.
    Of the prompt, `num_cached_tokens` were in the prefix cache, `num_external_tokens` come from a peer;
    `num_created_tokens` are those that it is the first to have there.
    `block_ids` are the numbers of its blocks, if a peer is to be told of them.
    `num_preemptions`: how often its blocks were taken from it. `counted` belongs to the observer: tokens that it has
    already accounted for. `disturbed` tells whoever waits for a token to look closer: the request was aborted, is held
    by a paused engine, or was postponed. `cut`: it was ended by the operator after that many tokens, of which `sent`
    were delivered.
    """

    # What happens in a simulation alone: a step of the request could not be computed.
    failed = False

    __slots__ = (
        "_delivered",
        "_owner",
        "_started",
        "aborted",
        "allocation",
        "block_hashes",
        "block_ids",
        "counted",
        "cut",
        "disturbed",
        "finished_at",
        "group",
        "held",
        "num_cached_tokens",
        "num_created_tokens",
        "num_external_tokens",
        "num_preemptions",
        "num_prompt_tokens",
        "queued",
        "request",
        "scheduled",
        "sent",
        "state",
        "timeline",
    )

    def __init__(self, owner: HandleOwner, request: EngineRequest, block_hashes: Sequence[BlockHash]) -> None:
        self._owner = owner
        self._delivered = 0
        self._started: threading.Event | None = None
        self.request = request
        self.block_hashes = block_hashes
        self.num_prompt_tokens = len(request.prompt_token_ids)
        self.num_cached_tokens = self.num_external_tokens = self.num_created_tokens = 0
        self.block_ids: Sequence[int] = ()
        self.aborted = self.disturbed = self.held = False
        self.cut: int | None = None
        self.sent = 0
        self.allocation: Allocation | None = None
        self.group: SamplingGroup | None = None
        self.timeline: Timeline | None = None
        self.state = WAITING
        self.queued = self.scheduled = self.finished_at = 0.0
        self.counted = self.num_preemptions = 0

    @property
    def waiting(self) -> bool:
        """Whether it is not known yet when the next token is due: the request is in the waiting queue."""
        return self.state == WAITING

    @property
    def num_total_tokens(self) -> int:
        """Tokens of prompt and whole output."""
        return self.num_prompt_tokens + self.request.num_output_tokens

    @property
    def previous_due(self) -> float:
        """In a simulation, when the last token before the present prefill came; 0.0 if there was none."""
        return 0.0

    @property
    def first_token_due(self) -> float:
        """When the first token is due; 0.0 while queued."""
        return self.timeline.first if self.timeline else 0.0

    @property
    def last_token_due(self) -> float:
        """When the last token is due; 0.0 while queued."""
        return self.timeline.last if self.timeline else 0.0

    @property
    def deadline(self) -> float:
        """When the last token is due on the clock of the wall, which may be another one in a simulation."""
        return self.last_token_due

    def tokens_due(self, now: float) -> int:
        """How many output tokens are due by `now`."""
        return self.timeline.tokens_due(now) if self.timeline else 0

    def next_timing(self) -> TokenTiming | None:
        """The next token timings; None when there are no more, or the request was aborted.

        Blocks while the request waits in the queue.
        """
        if self.timeline is None and not self.aborted:
            self._owner.wait_for_start(self)
        if self.aborted or self.timeline is None:
            return None
        timing = self.timeline.timing(self._delivered)
        if timing is not None:
            self._delivered += 1
        return timing

    def wait_for_last_timing(self) -> None:
        """Blocks until it is known when the last token is due, or the request is aborted."""
        if self.timeline is None and not self.aborted:
            self._owner.wait_for_start(self)

    def seek(self, tokens: int) -> None:
        """Go on after that many tokens: an engine that was paused has moved the others."""
        self._delivered = tokens

    def finish(self) -> None:
        """All tokens are delivered. Does nothing if the engine has already freed the slot."""
        self._owner.finish(self)

    def abort(self) -> None:
        """Frees the slot at once; from any thread, at any time, any number of times."""
        self._owner.abort(self)

    def started_event(self) -> threading.Event:
        """The event that `wake` sets; call with the engine's lock held."""
        if self._started is None:
            self._started = threading.Event()
        return self._started

    def wake(self) -> None:
        """Lets a blocked next_timing() go on; call with the engine's lock held."""
        if self._started is not None:
            self._started.set()
