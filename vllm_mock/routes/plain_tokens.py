"""Tokens of which each is a chunk of plain text: one step of a stream that stands for many."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from vllm_mock.engine import RequestHandle
from vllm_mock.protocol.json_text import quote, to_bytes

# How many overdue tokens leave together before others get their turn.
MAX_TOGETHER = 200

RecordLag = Callable[[float], None]
SingleStep = bytes | float | None


@dataclass(slots=True)
class PlainChunks:
    """The text of each token of a choice, and what stands before and after it, quoted, in its chunk.

    The chunks of the first token and of the last may have more to tell.
    """

    before: str
    texts: Sequence[str]
    after: str


class PlainTokens:
    """Tokens of a choice that are not due yet, `interval` seconds apart: the next has number `position`, due at `due`.

    From one token of a stream to its next, its objects leave the processor's caches: the fewer are touched, the
    better. Who drives the stream takes the chunks at their times, and goes on with the stream when there are none, or
    the token behind them is due.
    """

    __slots__ = (
        "_after",
        "_before",
        "_end",
        "_handle",
        "_interval",
        "_record_lag",
        "_texts",
        "due",
        "position",
    )

    def __init__(
        self,
        chunks: PlainChunks,
        handle: RequestHandle,
        tokens: range,
        due: float,
        interval: float,
        record_lag: RecordLag,
    ) -> None:
        self._before, self._texts, self._after = chunks.before, chunks.texts, chunks.after
        self._handle = handle
        self._end = tokens.stop
        self._interval = interval
        self._record_lag = record_lag
        self.position = tokens.start
        self.due = due

    def take(self, now: float) -> bytes | None:
        """The chunks that are due, at least one; None when there are no more, or something happened to the request."""
        position = self.position
        if position == self._end or self._handle.disturbed:
            return None
        late = now - self.due
        self._record_lag(late)
        interval = self._interval
        if late < interval:
            self.position = position + 1
            self.due += interval
            return to_bytes(f"{self._before}{quote(self._texts[position])}{self._after}")
        fresh = due_by(late, interval, self._end - position)
        self.position = position + fresh
        self.due += fresh * interval
        texts = self._texts[position : self.position]
        return to_bytes("".join([f"{self._before}{quote(text)}{self._after}" for text in texts]))

    def singly(self) -> Iterator[SingleStep]:
        """The same as steps that everybody knows."""
        yield self.due
        while (data := self.take(time.monotonic())) is not None:
            yield data
            yield self.due


def singly(steps: Iterable["SingleStep | PlainTokens"]) -> Iterator[SingleStep]:
    """The steps of a stream with each token by itself."""
    for step in steps:
        if isinstance(step, PlainTokens):
            yield from step.singly()
        else:
            yield step


def due_by(late: float, interval: float, left: int) -> int:
    """How many of the `left` tokens are due when the first of them is `late` seconds overdue; at least one."""
    due = left if interval <= 0 else int(late / interval + 1e-6) + 1
    return max(1, min(due, left, MAX_TOGETHER))
