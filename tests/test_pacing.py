"""The steps of streams: when they ask to go on, and what they render then."""

import itertools
import json
from collections.abc import Iterator

import pytest

from vllm_mock.engine import TokenTiming
from vllm_mock.protocol.sse import KEEP_ALIVE
from vllm_mock.routes import pacing
from vllm_mock.routes.pacing import MAX_SLEEP_SECONDS, PacedBody, Step, paced, paced_together
from vllm_mock.routes.plain_tokens import MAX_TOGETHER, PlainChunks, PlainTokens, singly


class Handle:
    """A request whose timings are known."""

    def __init__(self, *timings: TokenTiming) -> None:
        self.timings = list(timings)
        self.waiting = self.held = self.aborted = self.disturbed = False
        self.sent = self.sought = 0

    def abort(self) -> None:
        self.aborted = self.disturbed = True

    def next_timing(self) -> TokenTiming | None:
        self.waiting = False
        return self.timings.pop(0) if self.timings else None

    def seek(self, tokens: int) -> None:
        self.sought = tokens


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> "Clock":
    return Clock(monkeypatch)


class Clock:
    """Time stands still until a step is waited for, and `late` seconds longer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.late = 0.0
        monkeypatch.setattr(pacing.time, "monotonic", lambda: self.now)

    def follow(self, steps: Iterator[Step]) -> list[tuple[float, bytes]]:
        """When each piece of bytes came."""
        pieces = []
        for step in singly(steps):
            if isinstance(step, bytes):
                pieces.append((round(self.now, 6), step))
            elif step is not None:
                self.now = max(self.now, step) + self.late
        return pieces


def render(choice: int, start: int, end: int) -> bytes:
    return f"{choice}:{start}-{end};".encode()


def test_each_token_at_its_time(clock: Clock) -> None:
    lags: list[float] = []
    steps = paced(Handle(TokenTiming(100.1, 3, 0.02)), render, lags.append)
    assert clock.follow(steps) == [(100.1, b"0:0-1;"), (100.12, b"0:1-2;"), (100.14, b"0:2-3;")]
    assert lags == pytest.approx([0, 0, 0])


def test_a_late_stream_catches_up_and_returns_to_its_schedule(clock: Clock) -> None:
    clock.late = 0.05
    lags: list[float] = []
    steps = paced(Handle(TokenTiming(100.0, 6, 0.02)), render, lags.append)
    assert [piece for _, piece in clock.follow(steps)] == [b"0:0-3;", b"0:3-6;"]
    assert lags == pytest.approx([0.05, 0.05])


def worded(choice: int, start: int, end: int) -> bytes:
    return "".join(f"<{json.dumps(word)}>" for word in WORDS[start:end]).encode()


WORDS = ["a", 'quoted "b"', "c\n", "", "e", "f"]
PLAIN = PlainChunks("<", WORDS, ">")


@pytest.mark.parametrize("late", [0.0, 0.01, 0.05, 0.3])
def test_plain_tokens_come_as_others_do(clock: Clock, late: float) -> None:
    timing = TokenTiming(100.1, len(WORDS), 0.02)
    clock.late = late
    plain_lags: list[float] = []
    plain = clock.follow(paced(Handle(timing), worded, plain_lags.append, plain=PLAIN))
    clock.now = 100.0
    lags: list[float] = []
    others = clock.follow(paced(Handle(timing), worded, lags.append))
    if late < timing.interval:
        assert plain == others
        assert plain_lags == pytest.approx(lags)
    # The last token is not among the plain ones: when all are overdue it comes behind them.
    assert b"".join(piece for _, piece in plain) == b"".join(piece for _, piece in others)
    assert max(plain_lags) >= late - 1e-9


def plain_steps(handle: Handle, clock: Clock) -> tuple[Iterator[Step], PlainTokens]:
    """The steps of a stream whose first token is out, and the step that stands for those behind it."""
    steps = paced(handle, worded, lambda lag: None, plain=PLAIN)
    assert [next(steps), next(steps)] == [clock.now, worded(0, 0, 1)]
    tokens = next(steps)
    assert isinstance(tokens, PlainTokens)
    return steps, tokens


def test_only_what_was_sent_counts_when_plain_tokens_are_aborted(clock: Clock) -> None:
    handle = Handle(TokenTiming(100.0, len(WORDS), 0.02))
    steps, tokens = plain_steps(handle, clock)
    assert [tokens.take(tokens.due), tokens.take(tokens.due)] == [worded(0, 1, 2), worded(0, 2, 3)]
    handle.abort()
    assert tokens.take(tokens.due) is None
    assert list(steps) == []
    assert handle.sent == 3


def test_plain_tokens_go_on_where_a_pause_stopped_them(clock: Clock) -> None:
    handle = Handle(TokenTiming(100.0, len(WORDS), 0.02))
    steps, tokens = plain_steps(handle, clock)
    assert tokens.take(tokens.due) == worded(0, 1, 2)
    handle.held = handle.disturbed = True
    assert tokens.take(tokens.due) is None
    # Nothing comes while the engine holds the request.
    clock.now = 100.04
    assert next(steps) == pytest.approx(100.05)
    assert (handle.sent, handle.sought) == (2, 0)
    handle.held = False
    # The engine has moved the rest: one timing for each token.
    handle.timings = [TokenTiming(101.0 + 0.02 * number, 1, 0.0) for number in range(4)]
    pieces = clock.follow(steps)
    assert handle.sought == 2
    assert pieces == [(round(101.0 + 0.02 * n, 6), worded(0, 2 + n, 3 + n)) for n in range(4)]


def test_plain_tokens_that_are_due_come_together_but_not_too_many() -> None:
    texts = ["x"] * (2 * MAX_TOGETHER)
    lags: list[float] = []
    tokens = PlainTokens(PlainChunks("<", texts, ">"), Handle(), range(1, len(texts)), 10.0, 0.01, lags.append)
    assert tokens.take(10.055) == b'<"x">' * 6
    assert (tokens.position, tokens.due) == (7, pytest.approx(10.06))
    assert tokens.take(1000.0) == b'<"x">' * MAX_TOGETHER
    assert lags == pytest.approx([0.055, 989.94])


def test_signs_of_life_between_plain_tokens(clock: Clock) -> None:
    steps = paced(Handle(TokenTiming(100.0, 4, 0.25)), worded, lambda lag: None, idle=0.2, plain=PLAIN)
    assert [piece for _, piece in clock.follow(steps)].count(KEEP_ALIVE) == 3


def test_a_stream_without_latency_lets_others_in(clock: Clock) -> None:
    steps = list(paced(Handle(TokenTiming(100.0, 2 * MAX_TOGETHER + 1, 0.0)), render, lambda lag: None))
    pieces = [step for step in steps if isinstance(step, bytes)]
    assert len(pieces) == 3
    # Before each of them it gives way.
    assert [isinstance(step, float) for step in steps] == [True, False] * 3


def test_a_long_wait_looks_for_an_abort(clock: Clock) -> None:
    handle = Handle(TokenTiming(200.0, 1, 0.0))
    steps = paced(handle, render, lambda lag: None)
    assert next(steps) == pytest.approx(clock.now + MAX_SLEEP_SECONDS)
    handle.abort()
    assert list(steps) == []


def test_signs_of_life(clock: Clock) -> None:
    steps = paced(Handle(TokenTiming(102.5, 2, 1.5)), render, lambda lag: None, idle=1.0)
    times = [(101.0, KEEP_ALIVE), (102.0, KEEP_ALIVE), (102.5, b"0:0-1;"), (103.5, KEEP_ALIVE), (104.0, b"0:1-2;")]
    assert clock.follow(steps) == times


def test_who_is_queued_may_block(clock: Clock) -> None:
    handle = Handle(TokenTiming(100.0, 1, 0.0))
    handle.waiting = True
    assert next(paced(handle, render, lambda lag: None)) is None


def test_choices_take_turns(clock: Clock) -> None:
    handles = [Handle(TokenTiming(100.0 + 0.01 * choice, 2, 0.05)) for choice in (1, 0)]
    steps = paced_together(handles, render, lambda lag: None)
    assert clock.follow(steps) == [(100.0, b"1:0-1;"), (100.01, b"0:0-1;"), (100.05, b"1:1-2;"), (100.06, b"0:1-2;")]


def test_overdue_tokens_of_choices_come_step_by_step(clock: Clock) -> None:
    clock.late = 1.0
    handles = [Handle(TokenTiming(100.0, 2, 0.05)) for _ in range(2)]
    ((_, piece),) = clock.follow(paced_together(handles, render, lambda lag: None))
    assert piece == b"0:0-1;1:0-1;0:1-2;1:1-2;"


def test_a_server_that_knows_no_steps_gets_bytes_at_their_times(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(pacing.time, "sleep", slept.append)
    ended = iter(["not yet"])

    def steps() -> Iterator[Step]:
        try:
            yield b"head"
            yield None
            yield clock.now + 3
            yield b"tail"
            yield from itertools.repeat(clock.now - 1)
        finally:
            next(ended)

    body = PacedBody(steps())
    assert list(itertools.islice(body, 2)) == [b"head", b"tail"]
    assert slept == [pytest.approx(3.0)]
    body.close()
    assert next(ended, None) is None
