"""Recordings for the tests of sound, made with the standard library, and what other tools say about files."""

import io
import math
import struct
import wave
from typing import Any

import av


def recording(seconds: float, rate: int = 16_000, channels: int = 1) -> bytes:
    """A wav file with a tone of 440 Hz."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        samples = (int(9000 * math.sin(2 * math.pi * 440 * number / rate)) for number in range(int(seconds * rate)))
        writer.writeframes(b"".join(struct.pack("<h", sample) * channels for sample in samples))
    return file.getvalue()


def silence(seconds: float, rate: int = 8_000) -> bytes:
    """A wav file in which nothing is heard."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(bytes(2 * int(seconds * rate)))
    return file.getvalue()


def converted(wav: bytes, container: str, codec: str, rate: int) -> bytes:
    """A wav file in another format."""
    file = io.BytesIO()
    with av.open(io.BytesIO(wav)) as source, av.open(file, "w", format=container) as target:
        stream: Any = target.add_stream(codec, rate=rate)
        stream.layout = "mono"
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate)
        for frame in source.decode(audio=0):
            for resampled in resampler.resample(frame):
                target.mux(stream.encode(resampled))
        for resampled in resampler.resample(None):
            target.mux(stream.encode(resampled))
        target.mux(stream.encode(None))
    return file.getvalue()


def heard(data: bytes) -> tuple[float, int]:
    """The length in seconds of what a decoder plays of a file, and the loudest sample (of 32767)."""
    with av.open(io.BytesIO(data)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=24_000)
        parts = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
        parts += resampler.resample(None)
    samples = b"".join(bytes(part.planes[0])[: 2 * part.samples] for part in parts)
    values = struct.unpack(f"<{len(samples) // 2}h", samples)
    return len(values) / 24_000, max(map(abs, values))
