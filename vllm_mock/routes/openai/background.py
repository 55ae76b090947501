"""Responses that are made in the background: a thread follows them, whether anybody reads along or not."""

import threading
import time
from collections.abc import Callable, Iterator

from vllm_mock.routes.pacing import PacedBody, Step

POLL_SECONDS = 0.01
# Of the newest responses that are streamed in the background the events can be read again.
MOST_KEPT = 64


class EventLog:
    """The events of one response so far."""

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.ended = False

    def read(self, behind: int) -> PacedBody:
        """The events with numbers above `behind` (-1: all), those to come included."""
        return PacedBody(self._follow(behind + 1))

    def _follow(self, position: int) -> Iterator[Step]:
        yield b""
        while not self.ended or position < len(self.events):
            if position < len(self.events):
                yield self.events[position]
                position += 1
            else:
                yield time.monotonic() + POLL_SECONDS


class EventLogs:
    """Those of this worker, by response id."""

    def __init__(self) -> None:
        self._logs: dict[str, EventLog] = {}

    def record(self, response_id: str, body: PacedBody) -> EventLog:
        """Follow a stream in the background and keep its events."""
        log = self._logs[response_id] = EventLog()
        while len(self._logs) > MOST_KEPT:
            del self._logs[next(iter(self._logs))]

        def follow() -> None:
            try:
                for chunk in body:
                    log.events += split_events(chunk)
            finally:
                body.close()
                log.ended = True

        run_in_background(follow)
        return log

    def find(self, response_id: str) -> EventLog | None:
        """The log of a response that was streamed in the background by this worker."""
        return self._logs.get(response_id)


def split_events(chunk: bytes) -> list[bytes]:
    """The events of a chunk, each with its blank line."""
    return [event + b"\n\n" for event in chunk.split(b"\n\n") if event]


def run_in_background(work: Callable[[], None]) -> None:
    """Do something that nobody waits for."""
    threading.Thread(target=work, name="background-response", daemon=True).start()
