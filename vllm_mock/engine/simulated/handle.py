"""A request in a simulation: its tokens' times become known step by step."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from vllm_mock.engine.block_hash import BlockHash
from vllm_mock.engine.handle import HandleOwner, RequestHandle
from vllm_mock.engine.request import EngineRequest
from vllm_mock.engine.timeline import TokenTiming

if TYPE_CHECKING:
    from vllm_mock.engine.simulated.lane import Lane

UNKNOWN = float("inf")


class SimulatedOwner(HandleOwner, Protocol):
    """The Simulator as its handles see it."""

    def due(self, handle: "SimulatedHandle", number: int) -> float | None: ...
    def wait_for_token(self, handle: "SimulatedHandle", number: int) -> None: ...


class SimulatedHandle(RequestHandle):
    """`dues` are the times of the tokens it got before `segment`, from which step of its lane on it gets one in each.

    While it is prefilled, `computed` of its tokens have KV; a decoder (`joined` is the step that completed its
    prefill) has one more with each step of its lane, needs a block in step `needs_block_in`, and ends with step
    `ends_with`. `order` is its place among all that were ever admitted. `doomed`: it loses its blocks when the batch
    that it is in is done. `lost`: they hold nothing any longer.
    """

    __slots__ = (
        "_found",
        "computed",
        "doomed",
        "dues",
        "ends_with",
        "failed",
        "joined",
        "lane",
        "lost",
        "needs_block_in",
        "order",
        "segment",
    )

    _owner: SimulatedOwner

    def __init__(self, owner: HandleOwner, request: EngineRequest, block_hashes: Sequence[BlockHash]) -> None:
        super().__init__(owner, request, block_hashes)
        # What `waiting` found, for the call of next_timing() that follows.
        self._found: float | None = None
        self.lane: Lane | None = None
        self.dues: list[float] = []
        self.segment = -1
        self.computed = self.joined = self.ends_with = self.needs_block_in = self.order = 0
        self.failed = self.doomed = self.lost = False

    @property
    def previous_due(self) -> float:
        """When the last token before the present prefill came; 0.0 if there was none."""
        return self.dues[-1] if self.dues else 0.0

    @property
    def num_known_tokens(self) -> int:
        """Prompt and what was generated before the present prefill: what has to be computed before the next token."""
        return self.num_prompt_tokens + len(self.dues)

    @property
    def num_scheduled_tokens(self) -> int:
        """Output tokens whose time is known: at most one of them is still to come."""
        if self.segment < 0 or self.lane is None:
            return len(self.dues)
        return len(self.dues) + self.lane.next_step - self.segment

    def due(self, number: int) -> float | None:
        """When output token `number` is due, None while that is unknown."""
        before = len(self.dues)
        if number < before:
            return self.dues[number]
        if self.lane is None or self.segment < 0:
            return None
        return self.lane.end_of(self.segment + number - before)

    def close_segment(self, now: float = UNKNOWN) -> None:
        """It leaves its lane, and keeps the times of the tokens that were due by `now`, by default all."""
        if self.segment >= 0 and self.lane is not None:
            ends = self.lane.ends_from(self.segment)
            self.dues += ends if not ends or ends[-1] <= now else ends[:-1]
        self.segment = -1
        self.lane = None

    def leave_lane(self) -> None:
        """It has left its lane, with all tokens that are scheduled."""
        self.close_segment()
        self.counted = len(self.dues)

    @property
    def first_token_due(self) -> float:
        """When the first token is due; 0.0 while unknown."""
        return self.due(0) or 0.0

    @property
    def last_token_due(self) -> float:
        """When the last token is due; infinity while unknown."""
        return self.due(len(self.request.output_token_ids) - 1) or UNKNOWN

    @property
    def deadline(self) -> float:
        """When the last token is due on the wall's clock; infinity while unknown."""
        return self._owner.due(self, len(self.request.output_token_ids) - 1) or UNKNOWN

    def tokens_due(self, now: float) -> int:
        """How many output tokens are due by `now`."""
        known = self.num_scheduled_tokens
        last = self.due(known - 1) if known else None
        return known if last is None or last <= now else known - 1

    @property
    def waiting(self) -> bool:
        """Whether it is not known yet when the next token is due."""
        if self.aborted or self._delivered >= len(self.request.output_token_ids):
            return False
        self._found = self._owner.due(self, self._delivered)
        return self._found is None

    def next_timing(self) -> TokenTiming | None:
        """The next token's timing, or None when there are no more. Blocks until it is known."""
        number = self._delivered
        if number >= len(self.request.output_token_ids):
            return None
        while not self.aborted:
            due, self._found = self._found, None
            if due is not None or (due := self._owner.due(self, number)) is not None:
                self._delivered = number + 1
                return TokenTiming(due, 1, 0.0)
            self._owner.wait_for_token(self, number)
        return None

    def wait_for_last_timing(self) -> None:
        """Blocks until it is known when the last token is due, or the request is aborted."""
        last = len(self.request.output_token_ids) - 1
        while not self.aborted and self._owner.due(self, last) is None:
            self._owner.wait_for_token(self, last)
