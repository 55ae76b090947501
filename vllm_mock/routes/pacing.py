"""Waits for tokens: the one place where a request sleeps until its tokens are due.

Deadlines are absolute, so errors do not add up; tokens that are already overdue come out together, and a
stream gives way to the others even when it is late.
"""

import time
from collections.abc import Callable, Iterator, Sequence

from vllm_mock.engine import RequestHandle, TokenTiming

# How long a sleep may last before the request looks whether it was aborted.
MAX_SLEEP_SECONDS = 0.25
# How often a stream of several choices looks for one that left the waiting queue.
POLL_SECONDS = 0.01

NEVER = float("inf")

RecordLag = Callable[[float], None]


def sleep_until(due: float, handle: RequestHandle) -> float:
    """Sleep until `due` (monotonic seconds), or until the request is aborted; returns the time after."""
    now = time.monotonic()
    if now >= due:
        # Late, but others must get their turn: without this a stream that cannot keep up starves them.
        time.sleep(0)
        return time.monotonic()
    while now < due and not handle.aborted:
        time.sleep(min(due - now, MAX_SLEEP_SECONDS))
        now = time.monotonic()
    return now


def paced(handle: RequestHandle, record_lag: RecordLag, idle: float = NEVER) -> Iterator[tuple[int, int]]:
    """Yields (start, end) token positions of one sequence as they fall due; ends early when aborted.

    Whenever nothing came for `idle` seconds, it yields an empty range.
    """
    sent = 0
    if idle < NEVER:
        yield from ((sent, sent) for _ in _idle_while_queued(handle, idle))
    while (timing := handle.next_timing()) is not None:
        taken = 0
        while taken < timing.count:
            due = timing.due + taken * timing.interval
            if due - time.monotonic() > idle:
                sleep_until(time.monotonic() + idle, handle)
                if not handle.aborted:
                    yield sent, sent
                    continue
            now = sleep_until(due, handle)
            if handle.aborted:
                return
            record_lag(now - due)
            fresh = _due_by(timing, now) - taken
            yield sent, sent + fresh
            sent += fresh
            taken += fresh


def _idle_while_queued(handle: RequestHandle, idle: float) -> Iterator[None]:
    """Yields every `idle` seconds for as long as the request waits in the queue."""
    quiet_since = time.monotonic()
    while handle.waiting:
        time.sleep(POLL_SECONDS)
        if time.monotonic() - quiet_since >= idle:
            quiet_since = time.monotonic()
            yield


def _due_by(timing: TokenTiming, now: float) -> int:
    """How many tokens of a timing are due by `now`: at least one, whose deadline was just slept for."""
    if timing.interval <= 0:
        return timing.count
    # The wake-up may come a float's rounding before the deadline that it was meant for.
    return max(1, min(timing.count, int((now - timing.due) / timing.interval + 1e-6) + 1))


class _Cursor:
    """Where one of several interleaved sequences stands."""

    __slots__ = ("choice", "handle", "sent", "taken", "timing")

    def __init__(self, choice: int, handle: RequestHandle) -> None:
        self.choice = choice
        self.handle = handle
        self.sent = 0
        self.taken = 0
        self.timing: TokenTiming | None = None

    @property
    def due(self) -> float:
        assert self.timing is not None
        return self.timing.due + self.taken * self.timing.interval

    def advance(self) -> bool:
        """Fetch the next timing if the present one is used up; False when there are no more tokens."""
        if self.timing is None or self.taken >= self.timing.count:
            self.timing = self.handle.next_timing()
            self.taken = 0
        return self.timing is not None


def paced_together(
    handles: Sequence[RequestHandle], record_lag: RecordLag, idle: float = NEVER
) -> Iterator[list[tuple[int, int]]]:
    """Yields waves of (choice, token position), in the order of their deadlines, as they fall due.

    Whenever nothing came for `idle` seconds, it yields an empty wave.
    """
    if idle < NEVER:
        yield from ([] for _ in _idle_while_queued(handles[0], idle))
    cursors = [_Cursor(choice, handle) for choice, handle in enumerate(handles)]
    while cursors:
        started = [cursor for cursor in cursors if cursor.timing is not None or not cursor.handle.waiting]
        if not started:
            # All wait in the queue: block until the first leaves it.
            started = cursors[:1]
        live = [cursor for cursor in started if cursor.advance()]
        for cursor in started:
            if cursor.timing is None:
                cursors.remove(cursor)
        if not live:
            continue
        earliest = min(live, key=lambda cursor: cursor.due)
        pending = len(live) < len(cursors)
        due = min(earliest.due, time.monotonic() + (POLL_SECONDS if pending else idle))
        planned = earliest.due
        now = sleep_until(due, earliest.handle)
        if earliest.handle.aborted:
            return
        wave = _take_due(live, now)
        if wave:
            record_lag(now - planned)
        if wave or not pending:
            yield wave


def _take_due(cursors: list[_Cursor], now: float) -> list[tuple[int, int]]:
    wave: list[tuple[float, int, int]] = []
    for cursor in cursors:
        timing = cursor.timing
        while timing is not None and cursor.taken < timing.count and cursor.due <= now + 1e-6:
            wave.append((cursor.due, cursor.choice, cursor.sent))
            cursor.taken += 1
            cursor.sent += 1
    # As an engine step would give them: of tokens due together, the first of every choice comes first.
    wave.sort(key=lambda item: (item[0], item[2], item[1]))
    return [(choice, position) for _, choice, position in wave]


def wait_for_all(handles: Sequence[RequestHandle], record_lag: RecordLag) -> bool:
    """Block until every token of every sequence is due; False when one was aborted."""
    for handle in handles:
        while (timing := handle.next_timing()) is not None:
            due = timing.due + (timing.count - 1) * timing.interval
            now = time.monotonic()
            record_lag((now if now >= due else sleep_until(due, handle)) - due)
            if handle.aborted:
                return False
        if handle.aborted:
            return False
    return True
