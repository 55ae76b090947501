"""Bodies that go wrong on purpose: they stall, break off, or say what is no JSON."""

import errno
import json
import math
import socket
import struct
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from vllm_mock.engine import Failure
from vllm_mock.protocol.errors import ApiError
from vllm_mock.routes.openai.refusal import render_error
from vllm_mock.routes.pacing import PacedBody, Step
from vllm_mock.routes.plain_tokens import singly

if TYPE_CHECKING:
    from vllm_mock.services import Services

_END_OF_EVENT = b"\n\n"
_LOOK_SECONDS = 0.25
# On, zero seconds: closing sends RST.
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


def half(data: bytes) -> bytes:
    """The first half, at least a byte less than all."""
    return data[: len(data) // 2]


def told_error(action: dict[str, Any]) -> ApiError:
    """The error of a stream_error."""
    return ApiError.internal(action["message"]) if "message" in action else ApiError.internal()


def broken_off(data: bytes, connection: Any, how: str) -> PacedBody:
    """These bytes, then the end of the connection: `how` is rst or fin."""

    def steps() -> Iterator[Step]:
        if data:
            yield data
            yield time.monotonic()
        end(connection, how)

    return PacedBody(steps())


def end(connection: Any, how: str) -> None:
    """Lets the server close the connection, with FIN or RST, as if the client had gone."""
    if how == "rst" and connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
        # Left to the server, a farewell could go before.
        connection.close()
    raise ConnectionResetError(errno.ECONNRESET, "a fault on purpose")


class FaultyBody:
    """A stream that goes wrong once, after `after_tokens` chunks that carry output; a chunk usually carries a token."""

    def __init__(
        self, services: "Services", action: dict[str, Any], inner: Any, connection: Any, failure: Failure | None
    ) -> None:
        self._services = services
        self._action = action
        self._inner = inner
        self._connection = connection
        self._failure = failure
        self._left: int = action.get("after_tokens", 0)
        self._all = PacedBody(self._steps())
        # A body that knows no steps may block at any time: no timer may drive it.
        self.steps = self._all.steps if hasattr(inner, "steps") else None

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._all)

    def close(self) -> None:
        """The stream is over, whether it came to its end or not."""
        self._all.close()
        close = getattr(self._inner, "close", None)
        if close is not None:
            close()

    def _steps(self) -> Iterator[Step]:
        steps = singly(getattr(self._inner, "steps", self._inner))
        # Broken in its middle, the next event must be at hand; the others happen as soon as the last one is out.
        needs_next = self._action["type"] in ("truncate", "malformed")
        for step in steps:
            if not isinstance(step, bytes) or not step:
                yield step
                continue
            before, rest = self._divided(step)
            if self._left or (needs_next and not rest):
                yield step
                continue
            yield before
            # What is to come before the fault leaves before it.
            yield time.monotonic()
            yield from self._go_wrong(rest)
            yield from steps

    def _divided(self, data: bytes) -> tuple[bytes, bytes]:
        """What comes before the fault, and the rest, if `left` becomes 0 within it."""
        place = 0
        while self._left and place < len(data):
            found = data.find(_END_OF_EVENT, place)
            following = len(data) if found < 0 else found + len(_END_OF_EVENT)
            self._left -= carries_output(data[place:following])
            place = following
        return data[:place], data[place:]

    def _go_wrong(self, rest: bytes) -> Iterator[Step]:
        action = self._action
        kind = action["type"]
        if kind == "disconnect":
            end(self._connection, action.get("how", "rst"))
        if kind == "stall":
            yield from self._stalled(action.get("seconds", math.inf))
            yield rest
            return
        if kind == "stream_error":
            yield from self._failed(action)
            return
        event, separator, others = rest.partition(_END_OF_EVENT)
        yield half(event)
        if kind == "truncate":
            yield time.monotonic()
            end(self._connection, "fin")
        yield (separator or _END_OF_EVENT) + others

    def _stalled(self, seconds: float) -> Iterator[Step]:
        """Nothing for so long; for ever, until the client leaves."""
        gone: list[bool] = []
        watcher = self._services.watcher
        key = watcher.add(self._connection, lambda: gone.append(True))
        until = time.monotonic() + seconds
        try:
            while (now := time.monotonic()) < until:
                if gone or self._services.lifecycle.aborting:
                    end(self._connection, "fin")
                yield min(until, now + _LOOK_SECONDS)
        finally:
            watcher.remove(key)

    def _failed(self, action: dict[str, Any]) -> Iterator[Step]:
        """The engine's error: its request is over, the stream ends in good order."""
        last = (getattr(self._inner, "render_error", None) or render_error)(told_error(action))
        if self._failure is not None:
            self._failure.happened = True
        if hasattr(self._inner, "close"):
            self._inner.close()
        yield last


def carries_output(event: bytes) -> bool:
    """Whether an event of a stream carries something that was generated; what is no event does."""
    data = event.rpartition(b"data: ")[2]
    if data is event or not data.lstrip().startswith(b"{"):
        return not event.startswith((b"data:", b":", b"event:"))
    try:
        told = json.loads(data)
    except ValueError:
        return True
    if (kind := told.get("type")) is not None:
        return kind == "content_block_delta" or kind.endswith(".delta")
    return any(_says_something(choice) for choice in told.get("choices") or ())


def _says_something(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta") or {}
    keys = ("content", "reasoning", "reasoning_content", "tool_calls")
    return bool(choice.get("text") or choice.get("token_ids") or any(delta.get(key) for key in keys))
