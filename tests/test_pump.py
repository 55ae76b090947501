"""The pump: which flow goes on when, and what it leaves to the greenlet of the connection."""

import gc
import itertools
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from vllm_mock.routes.pacing import Step
from vllm_mock.routes.plain_tokens import PlainChunks, PlainTokens
from vllm_mock.serving import pump
from vllm_mock.serving.lean_response import LeanResponse
from vllm_mock.serving.pump import Flow, Pump

# Further away than any time that this machine's clock may show.
LATER = 1e9


class Wire:
    """A socket that takes `room` bytes."""

    def __init__(self, room: int = 10_000) -> None:
        self.room = room
        self.taken = b""
        self._sock = self

    def send(self, data: bytes) -> int:
        if not self.room:
            raise BlockingIOError
        taken = data[: self.room]
        self.room -= len(taken)
        self.taken += taken
        return len(taken)


class Stream:
    """A flow with what belongs to it; its head is sent already."""

    def __init__(self, steps: Iterator[Step], room: int = 10_000) -> None:
        self.wire = Wire(room)
        request: Any = SimpleNamespace(method="POST", version=(1, 1))
        self.response = LeanResponse(request, self.wire, None)
        self.response.chunked = self.response.headers_sent = True
        self.handed_over = 0
        self.flow = Flow(steps, self.response, self._hand_over)

    def go_on(self) -> float | None:
        """Lets the flow go on once, as a pump does; when it goes on again, None if no pump will let it."""
        streams = Pump()
        streams.add(self.flow, 0.0)
        return streams.run()

    def _hand_over(self) -> None:
        self.handed_over += 1


def failing() -> Iterator[Step]:
    yield b"a"
    raise ConnectionResetError


def test_bytes_up_to_the_next_wait_are_one_chunk() -> None:
    stream = Stream(iter([b"ab", b"c", LATER, b"d"]))
    assert stream.go_on() == LATER
    assert stream.wire.taken == b"3\r\nabc\r\n"
    assert (stream.response.sent, stream.handed_over) == (3, 0)


def test_nothing_to_send_is_no_chunk() -> None:
    stream = Stream(iter([b"", LATER]))
    assert stream.go_on() == LATER
    assert stream.wire.taken == b""


@pytest.mark.parametrize("room", [0, 4])
def test_a_client_that_does_not_read_is_left_to_its_greenlet(room: int) -> None:
    stream = Stream(iter([b"abc", LATER, b"d"]), room)
    assert stream.go_on() is None
    assert stream.handed_over == 1
    assert stream.wire.taken + stream.response.unsent == b"3\r\nabc\r\n"
    # What is not due yet must not follow when the client reads again.
    assert stream.flow.resume_at == LATER


def plain(due: float, count: int, handle: Any = None) -> PlainTokens:
    """Tokens of the chunks <"0">, <"1"> and so on, a second apart."""
    chunks = PlainChunks("<", [str(number) for number in range(count)], ">")
    handle = handle or SimpleNamespace(disturbed=False)
    return PlainTokens(chunks, handle, range(count), due, 1.0, lambda lag: None)


def test_plain_tokens_leave_at_their_times_until_they_are_all_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 9.0
    monkeypatch.setattr(pump.time, "monotonic", lambda: now)
    stream = Stream(iter([plain(10.0, 2), b"end", 20.0]))
    streams = Pump()
    streams.add(stream.flow, 0.0)
    assert streams.run() == 10.0
    sent = []
    for now, following in ((10.0, 11.0), (11.0, 12.0), (12.0, 20.0)):  # noqa: B007
        assert streams.run() == following
        sent.append(stream.wire.taken)
        stream.wire.taken = b""
    assert sent == [b'5\r\n<"0">\r\n', b'5\r\n<"1">\r\n', b"3\r\nend\r\n"]
    assert (stream.response.sent, stream.handed_over) == (13, 0)


def test_overdue_plain_tokens_and_what_follows_them_leave_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump.time, "monotonic", lambda: 15.0)
    stream = Stream(iter([b"end", LATER]))
    stream.flow.wait(plain(10.0, 3))
    assert stream.go_on() == LATER
    assert stream.wire.taken == b'12\r\n<"0"><"1"><"2">end\r\n'


def test_plain_tokens_wait_for_a_client_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump.time, "monotonic", lambda: 10.0)
    tokens = plain(10.0, 5)
    stream = Stream(iter([]), room=4)
    stream.flow.wait(tokens)
    assert stream.go_on() is None
    assert (stream.handed_over, stream.flow.resume_at, tokens.position) == (1, 11.0, 1)
    assert (stream.wire.taken, stream.response.unsent) == (b"5\r\n<", b'"0">\r\n')
    # Meanwhile more has fallen due.
    stream.wire.room = 100
    monkeypatch.setattr(pump.time, "monotonic", lambda: 12.5)
    assert stream.go_on() == 13.0
    assert stream.wire.taken == b'5\r\n<A\r\n<"1"><"2">\r\n'


def test_plain_tokens_of_a_stream_that_was_dropped_or_disturbed_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump.time, "monotonic", lambda: 10.0)
    dropped, disturbed = Stream(iter([])), Stream(iter([b"bye", LATER]))
    dropped.flow.wait(plain(10.0, 5))
    disturbed.flow.wait(plain(10.0, 5, SimpleNamespace(disturbed=True)))
    dropped.flow.drop()
    assert (dropped.go_on(), dropped.wire.taken) == (None, b"")
    assert (disturbed.go_on(), disturbed.wire.taken) == (LATER, b"3\r\nbye\r\n")


def test_steps_that_may_block_are_left_to_the_greenlet() -> None:
    stream = Stream(iter([b"abc", None, b"d"]))
    assert stream.go_on() is None
    assert (stream.handed_over, stream.flow.resume_at) == (1, None)
    assert (stream.wire.taken, stream.response.unsent) == (b"", b"3\r\nabc\r\n")


def test_the_end_and_errors_are_left_to_the_greenlet() -> None:
    ended, failed = Stream(iter([b"z"])), Stream(failing())
    for stream in (ended, failed):
        assert stream.go_on() is None
        assert stream.handed_over == 1
    assert ended.flow.error is None
    assert isinstance(failed.flow.error, ConnectionResetError)


def test_a_failed_stream_leaves_no_circle_of_references() -> None:
    gc.collect()
    gc.disable()
    try:
        stream = Stream(failing())
        response = weakref.ref(stream.response)
        stream.go_on()
        stream.flow.drop()
        # The circle of this helper itself.
        del stream.flow
        del stream
        assert response() is None
    finally:
        gc.enable()


def test_flows_go_on_in_the_order_of_their_times(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 10.0
    monkeypatch.setattr(pump.time, "monotonic", lambda: now)
    order: list[str] = []

    def steps(name: str, due: float) -> Iterator[Step]:
        while True:
            order.append(name)
            due += 20
            yield due

    streams = Pump()
    now = 5.0
    for name, due in (("late", 20.0), ("second", 9.0), ("first", 8.0)):
        streams.add(Stream(steps(name, due)).flow, due)
    now = 10.0
    assert streams.run() == 20.0
    assert order == ["first", "second"]
    now = 28.5
    assert streams.run() == 29.0
    assert order == ["first", "second", "late", "first"]


@pytest.mark.parametrize(("flows", "width"), [(2, 0.0003), (500, 0.0021)])
def test_those_due_together_go_on_together_and_never_early(flows: int, width: float) -> None:
    streams = Pump()
    dues = [1e5 + 0.1 + number * 0.000001 for number in range(flows)]
    for due in dues:
        goes_on_at = streams.add(Stream(iter([b"x"])).flow, due)
        assert due <= goes_on_at < due + width
    wakes = {streams.add(Stream(iter([b"x"])).flow, dues[0]) for _ in range(10)}
    assert len(wakes) == 1


def test_one_that_is_always_late_does_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(1000)
    monkeypatch.setattr(pump.time, "monotonic", lambda: next(clock) / 10_000)
    order: list[str] = []

    def greedy() -> Iterator[Step]:
        while True:
            order.append("greedy")
            yield pump.time.monotonic()

    def patient() -> Iterator[Step]:
        order.append("patient")
        yield LATER

    streams = Pump()
    streams.add(Stream(greedy()).flow, 0.0)
    streams.add(Stream(patient()).flow, 0.1005)
    while "patient" not in order:
        streams.run()
    # The clock goes on by 0.1 ms whenever it is read.
    assert len(order) < 10


def test_a_long_stretch_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(range(1000))
    monkeypatch.setattr(pump.time, "monotonic", lambda: float(next(times)))
    streams = Pump()
    for _ in range(2 * pump.AT_ONCE):
        streams.add(Stream(iter([b"x", 2000.0])).flow, -1.0)
    # The clock runs so fast that a few flows take longer than a stretch may last.
    resume_at = streams.run()
    assert resume_at is not None
    assert resume_at < 100


def test_a_dropped_flow_sends_nothing_more() -> None:
    stream = Stream(iter([b"x", LATER]))
    stream.flow.drop()
    assert stream.go_on() is None
    assert stream.wire.taken == b""
