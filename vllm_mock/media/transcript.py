"""A made-up transcript: words and segments with times that fit the recording, and subtitles made of them."""

import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

WORDS_PER_SECOND = 2.5
# How long a piece is that a speech model hears at once, in seconds.
CLIP_SECONDS = 30.0
_WORDS_PER_SEGMENT = 12
_SENTENCE_ENDS = (".", "!", "?")


class Word(NamedTuple):
    """One word, without blanks; times in seconds."""

    text: str
    start: float
    end: float


class Segment(NamedTuple):
    """Some words in a row, joined by blanks."""

    text: str
    start: float
    end: float


def clips(duration: float) -> list[tuple[float, float]]:
    """Start and length of the pieces in which a recording is heard, in seconds."""
    count = max(1, -int(-duration // CLIP_SECONDS))
    return [(index * CLIP_SECONDS, min(CLIP_SECONDS, duration - index * CLIP_SECONDS)) for index in range(count)]


def words_in(seconds: float) -> int:
    """How many words are said in that time; at least one."""
    return max(1, round(seconds * WORDS_PER_SECOND))


def timed(text: str, start: float, length: float) -> list[Word]:
    """The words of a text, one after the other from `start` on for `length` seconds."""
    said = text.split()
    step = length / max(1, len(said))
    return [
        Word(word, round(start + index * step, 2), round(start + (index + 1) * step, 2))
        for index, word in enumerate(said)
    ]


def segments(words: Sequence[Word]) -> list[Segment]:
    """Sentences, and parts of long ones."""
    found: list[Segment] = []
    begun: list[Word] = []
    for word in words:
        begun.append(word)
        if word.text.endswith(_SENTENCE_ENDS) or len(begun) == _WORDS_PER_SEGMENT or word is words[-1]:
            found.append(Segment(" ".join(part.text for part in begun), begun[0].start, begun[-1].end))
            begun = []
    return found


def verbose_segment(
    number: int, segment: Segment, temperature: float, encode: Callable[[str], list[int]]
) -> dict[str, Any]:
    """A segment of verbose_json, keys in vLLM's order."""
    content = segment.text.encode("utf-8", "replace")
    return {
        "id": number,
        "avg_logprob": -0.1 - zlib.crc32(content) % 400 / 1000,
        "compression_ratio": len(content) / len(zlib.compress(content)),
        "end": segment.end,
        "no_speech_prob": None,
        "seek": int(segment.start // CLIP_SECONDS * CLIP_SECONDS),
        "start": segment.start,
        "temperature": temperature,
        "text": f" {segment.text}",
        "tokens": encode(f" {segment.text}"),
    }


def srt(parts: Sequence[Segment]) -> str:
    """Subtitles in SubRip's format."""
    return "\n".join(
        f"{number}\n{_clock(part.start, ',')} --> {_clock(part.end, ',')}\n{part.text}\n"
        for number, part in enumerate(parts, 1)
    )


def vtt(parts: Sequence[Segment]) -> str:
    """Subtitles in the format WebVTT."""
    cues = "".join(f"\n{_clock(part.start, '.')} --> {_clock(part.end, '.')}\n{part.text}\n" for part in parts)
    return f"WEBVTT\n{cues}"


def _clock(seconds: float, mark: str) -> str:
    milliseconds = round(seconds * 1000)
    return (
        f"{milliseconds // 3_600_000:02}:{milliseconds // 60_000 % 60:02}:"
        f"{milliseconds // 1000 % 60:02}{mark}{milliseconds % 1000:03}"
    )
