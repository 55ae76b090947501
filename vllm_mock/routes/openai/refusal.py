"""Refusals that come when the stream has begun: vLLM's engine looks at a request only then."""

import json
from collections.abc import Iterator

from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.json_text import compact
from vllm_mock.protocol.sse import DONE, event


class StreamedRefusal(Exception):
    """An error to be sent as an event of a stream that was answered with 200."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(error.message)
        self.error = error

    def events(self, *, spaced: bool) -> Iterator[bytes]:
        """The stream: the error and the end. `spaced`: with blanks behind colons and commas, as completions do."""
        yield error_event(self.error, spaced=spaced)
        yield DONE


def error_event(error: ApiError, *, spaced: bool = False) -> bytes:
    """An error as an event of a stream."""
    payload = error.payload()
    return event(json.dumps(payload) if spaced else compact(payload))


def render_error(error: ApiError) -> bytes:
    """The end of a stream that an error broke off."""
    return error_event(error) + DONE


def render_spaced_error(error: ApiError) -> bytes:
    """The same as completions have it."""
    return error_event(error, spaced=True) + DONE


def refused_by_engine(error: ApiError, *, streaming: bool) -> Exception:
    """What is to be raised for an error of the engine's stage: a streaming request has its answer begun by then."""
    return StreamedRefusal(error) if streaming else error
