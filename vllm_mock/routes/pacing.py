"""When a request goes on: the one place that turns token timings into waiting.

A stream is a generator of steps. A step is bytes to send, or a float: go on with me at that time (monotonic
seconds), or None: what I do next may block, or PlainTokens: chunks to send one after the other, each at its time. So
one timer can drive all streams (see serving/pump.py), without a thread or greenlet that sleeps for each token; a
server that knows nothing of steps iterates over PacedBody.

Deadlines are absolute, so errors do not add up; tokens that are already overdue come out together, and a
stream gives way to the others even when it is late.
"""

import time
from collections.abc import Callable, Iterator, Sequence

from vllm_mock.engine import RequestHandle, TokenTiming
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.sse import KEEP_ALIVE
from vllm_mock.routes.plain_tokens import PlainChunks, PlainTokens, RecordLag, SingleStep, due_by, singly

# How long a wait may last before the request looks whether it was aborted.
MAX_SLEEP_SECONDS = 0.25
# How often a stream of several choices looks for one that left the waiting queue.
POLL_SECONDS = 0.01

NEVER = float("inf")

Step = SingleStep | PlainTokens
RenderError = Callable[[ApiError], bytes]
# Renders the tokens start..end-1 of a choice.
Render = Callable[[int, int, int], bytes]


class PacedBody:
    """The body of a streamed answer, made of steps. `render_error` gives the bytes that end it with an error."""

    __slots__ = ("render_error", "steps")

    def __init__(self, steps: Iterator[Step], render_error: RenderError | None = None) -> None:
        self.steps = steps
        self.render_error = render_error

    def __iter__(self) -> Iterator[bytes]:
        """The bytes, each at its time; blocks in between."""
        for step in singly(self.steps):
            if isinstance(step, bytes):
                yield step
            elif step is not None:
                time.sleep(max(0.0, step - time.monotonic()))

    def close(self) -> None:
        """The stream is over, whether it came to its end or not."""
        self.steps.close()  # type: ignore[attr-defined]


def paced(
    handle: RequestHandle,
    render: Render,
    record_lag: RecordLag,
    idle: float = NEVER,
    plain: PlainChunks | None = None,
) -> Iterator[Step]:
    """The steps of one sequence, whose tokens are rendered as they fall due; ends early when aborted.

    Whenever nothing came for `idle` seconds, there is a sign of life. `plain`: what `render` would give for each token
    but the first and the last.
    """
    monotonic = time.monotonic
    patience = min(MAX_SLEEP_SECONDS, idle)
    sent = 0
    while True:
        if handle.waiting:
            yield from _while_queued(handle, idle)
        timing = handle.next_timing()
        if timing is None:
            break
        due, interval, taken, count = timing.due, timing.interval, 0, timing.count
        now = monotonic()
        while taken < count:
            if plain is not None and sent and taken < count - 1 and interval <= patience:
                tokens = PlainTokens(plain, handle, range(sent, sent + count - taken - 1), due, interval, record_lag)
                yield tokens
                taken += tokens.position - sent
                sent = tokens.position
                due = timing.due + taken * interval
            elif due - now > patience:
                yield from _long_wait(due, handle, idle)
            else:
                yield due if due > now else now
            if handle.disturbed:
                handle.sent = sent
                yield from _while_held(handle, idle)
                if handle.aborted:
                    return
                handle.seek(sent)
                break
            now = monotonic()
            record_lag(now - due)
            fresh = 1 if now < due + interval else due_by(now - due, interval, count - taken)
            yield render(0, sent, sent + fresh)
            sent += fresh
            taken += fresh
            due = timing.due + taken * interval
    handle.sent = sent


def _long_wait(due: float, handle: RequestHandle, idle: float) -> Iterator[Step]:
    """Steps until `due`, ended by an abort."""
    now = time.monotonic()
    quiet_until = now + idle
    while now < due and not handle.disturbed:
        yield min(due, quiet_until, now + MAX_SLEEP_SECONDS)
        now = time.monotonic()
        if quiet_until <= now < due and not handle.disturbed:
            yield KEEP_ALIVE
            quiet_until = now + idle


def _while_held(handle: RequestHandle, idle: float) -> Iterator[Step]:
    """Steps for as long as a paused engine holds the request."""
    quiet_until = time.monotonic() + idle
    while handle.held and not handle.aborted:
        yield time.monotonic() + POLL_SECONDS
        if time.monotonic() >= quiet_until:
            yield KEEP_ALIVE
            quiet_until = time.monotonic() + idle
    handle.disturbed = handle.aborted


def _while_queued(handle: RequestHandle, idle: float) -> Iterator[Step]:
    """Steps for as long as it is not known when the request's next token is due."""
    if idle == NEVER:
        if handle.waiting:
            yield None
        return
    quiet_until = time.monotonic() + idle
    while handle.waiting:
        yield time.monotonic() + POLL_SECONDS
        if time.monotonic() >= quiet_until:
            yield KEEP_ALIVE
            quiet_until = time.monotonic() + idle


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

    def go_on(self) -> None:
        """The timings that are left have moved."""
        self.handle.seek(self.sent)
        self.timing = None

    @property
    def is_known(self) -> bool:
        """Whether advance() would not block."""
        return self.has_tokens or not self.handle.waiting

    @property
    def has_tokens(self) -> bool:
        return self.timing is not None and self.taken < self.timing.count

    def advance(self) -> bool:
        """Fetch the next timing if the present one is used up; False when there are no more tokens."""
        if not self.has_tokens:
            self.timing = self.handle.next_timing()
            self.taken = 0
        return self.timing is not None


def paced_together(
    handles: Sequence[RequestHandle], render: Render, record_lag: RecordLag, idle: float = NEVER
) -> Iterator[Step]:
    """The steps of several sequences, whose tokens are rendered in the order in which they fall due.

    Whenever nothing came for `idle` seconds, there is a sign of life.
    """
    yield from _while_queued(handles[0], idle)
    quiet_until = time.monotonic() + idle
    cursors = [_Cursor(choice, handle) for choice, handle in enumerate(handles)]
    while cursors:
        started = [cursor for cursor in cursors if cursor.is_known]
        if not started:
            # All wait in the queue: the first to leave it is waited for.
            yield None
            started = cursors[:1]
        live = [cursor for cursor in started if cursor.advance()]
        for cursor in started:
            if cursor.timing is None:
                cursor.handle.sent = cursor.sent
                cursors.remove(cursor)
        if not live:
            continue
        now = time.monotonic()
        earliest = min(live, key=lambda cursor: cursor.due)
        # Those that still wait in the queue do not tell when they leave it.
        look = now + (MAX_SLEEP_SECONDS if len(live) == len(cursors) else POLL_SECONDS)
        yield max(now, min(earliest.due, look, quiet_until))
        if any(cursor.handle.disturbed for cursor in live):
            for cursor in live:
                cursor.handle.sent = cursor.sent
                yield from _while_held(cursor.handle, idle)
                cursor.go_on()
                # One that ended before the others were stopped still has its last tokens to send.
                if cursor.handle.aborted:
                    cursors.remove(cursor)
            continue
        now = time.monotonic()
        if wave := _take_due(live, now):
            record_lag(now - wave[0][0])
            yield b"".join([render(choice, position, position + 1) for _, position, choice in wave])
            quiet_until = time.monotonic() + idle
        elif now >= quiet_until:
            yield KEEP_ALIVE
            quiet_until = time.monotonic() + idle


def _take_due(cursors: list[_Cursor], now: float) -> list[tuple[float, int, int]]:
    """(due, position, choice) of the tokens that are due, in the order in which an engine's steps would give them."""
    wave: list[tuple[float, int, int]] = []
    for cursor in cursors:
        timing = cursor.timing
        while timing is not None and cursor.taken < timing.count and cursor.due <= now + 1e-6:
            wave.append((cursor.due, cursor.sent, cursor.choice))
            cursor.taken += 1
            cursor.sent += 1
    wave.sort()
    return wave


def wait_for_all(handles: Sequence[RequestHandle], record_lag: RecordLag) -> bool:
    """Block until every token of every sequence is due, or the operator ended it; False when one was aborted."""
    for handle in handles:
        # Blocks while the request waits in the queue.
        handle.wait_for_last_timing()
        now = time.monotonic()
        # A paused engine stops the clock of a request, and moves its last token when it goes on.
        while not handle.aborted and (handle.held or now < handle.deadline):
            rest = POLL_SECONDS if handle.held else handle.deadline - now
            time.sleep(min(rest, MAX_SLEEP_SECONDS))
            now = time.monotonic()
        if not handle.aborted:
            record_lag(now - handle.deadline)
        elif handle.cut is None:
            return False
    return True
