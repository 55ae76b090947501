"""Samples as a sound file: wav and pcm as they are, everything else through PyAV."""

import io
import struct
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

from vllm_mock.media.libraries import pyav
from vllm_mock.media.voice import SAMPLE_RATE


class Codec(NamedTuple):
    """FFmpeg's names of a format's container, encoder and sample format; what makes the encoder fast."""

    container: str
    encoder: str
    samples: str
    options: dict[str, str]


CODECS = {
    "mp3": Codec("mp3", "libmp3lame", "s16p", {"compression_level": "9"}),
    "opus": Codec("ogg", "libopus", "s16", {"compression_level": "0"}),
    "aac": Codec("adts", "aac", "fltp", {"aac_coder": "fast"}),
    "flac": Codec("flac", "flac", "s16", {}),
}
CONTENT_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
FORMATS = tuple(CONTENT_TYPES)

_WAV = struct.Struct("<4sI4s4sIHHIIHH4sI")


def wav_header(data_bytes: int, rate: int = SAMPLE_RATE) -> bytes:
    """The head of a wav file with that many bytes of samples; for a stream of unknown length, as many as fit."""
    size = min(data_bytes, 0xFFFFFFFF - 36)
    return _WAV.pack(b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16, b"data", size)


def encoded(parts: Iterator[bytes], format: str, data_bytes: int) -> Iterator[bytes]:
    """The file in pieces. `parts` are samples, `data_bytes` their length in all. Raises MissingLibrary at once.

    Other requests get their turn between the pieces: encoding a second of sound takes a few milliseconds.
    """
    if format == "pcm":
        return parts
    if format == "wav":
        return _wav(parts, data_bytes)
    return _compressed(pyav(), parts, CODECS[format])


def _wav(parts: Iterator[bytes], data_bytes: int) -> Iterator[bytes]:
    yield wav_header(data_bytes)
    yield from parts


class _Pipe:
    """Where a muxer writes that may not go back."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        """What was written since the last call."""
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def _compressed(av: Any, parts: Iterator[bytes], codec: Codec) -> Iterator[bytes]:
    # FLAC's head holds the length, which is known at the end: that file is sent whole.
    whole = io.BytesIO() if codec.container == "flac" else None
    pipe = _Pipe()
    options = {"write_xing": "0"} if codec.container == "mp3" else {}
    with av.open(whole or pipe, "w", format=codec.container, options=options) as container:
        stream = container.add_stream(codec.encoder, rate=SAMPLE_RATE, layout="mono", options=codec.options)
        stream.codec_context.format = codec.samples
        resampler = av.AudioResampler(format=codec.samples, layout="mono", rate=SAMPLE_RATE)
        position = 0
        for part in parts:
            for resampled in resampler.resample(_frame(av, part, position)):
                container.mux(stream.encode(resampled))
            position += len(part) // 2
            if data := pipe.taken():
                yield data
            time.sleep(0)
        container.mux(stream.encode(None))
    yield pipe.taken() if whole is None else whole.getvalue()


def _frame(av: Any, samples: bytes, position: int) -> Any:
    """Samples that begin at that position of the whole."""
    frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples) // 2)
    frame.sample_rate = SAMPLE_RATE
    frame.time_base = Fraction(1, SAMPLE_RATE)
    frame.pts = position
    frame.planes[0].update(samples.ljust(frame.planes[0].buffer_size, b"\0"))
    return frame
