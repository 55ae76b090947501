"""How long a recording is, whatever its format."""

import io
import time
from typing import Any, NamedTuple

from vllm_mock.media.libraries import pyav

_PACKETS_PER_TURN = 500


class BadRecording(Exception):
    """A file without sound that could be read."""


class Recording(NamedTuple):
    """The first sound track of a file: its length in seconds and its sample rate in Hz."""

    duration: float
    rate: int


def measure(data: bytes) -> Recording:
    """What a file holds. Raises BadRecording and MissingLibrary."""
    av = pyav()
    try:
        with av.open(io.BytesIO(data)) as container:
            stream = next(iter(container.streams.audio), None)
            # A stream in an unknown codec has not even that attribute.
            rate = getattr(stream, "rate", None)
            if not rate:
                raise BadRecording
            return Recording(_duration(container, stream), rate)
    except (av.error.FFmpegError, UnicodeDecodeError):
        raise BadRecording from None


def _duration(container: Any, stream: Any) -> float:
    """What the packets say: a header may be missing or wrong, as in an MP3 file that was cut."""
    first: int | None = None
    end = 0
    for count, packet in enumerate(container.demux(stream)):
        if packet.pts is not None:
            first = packet.pts if first is None else min(first, packet.pts)
            end = max(end, packet.pts + (packet.duration or 0))
        if count % _PACKETS_PER_TURN == 0:
            time.sleep(0)
    if first is None:
        # AIBrix's client sends a file with nothing behind its head, and wants an answer.
        return 0.0
    told = stream.duration if stream.duration is not None and stream.duration > 0 else end - first
    # A trimmed end is in the header alone, a cut file in the packets alone.
    return float(min(told, end - first) * stream.time_base)
