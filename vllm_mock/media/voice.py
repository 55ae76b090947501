"""A made-up voice: every word becomes a sequence of vowels, each a periodic wave with formants.

No one will understand it, but it is sound of the right length, with a rhythm, and another pitch for another voice.
"""

import hashlib
import math
from array import array
from collections.abc import Iterator
from functools import lru_cache

SAMPLE_RATE = 24_000  # samples per second; one channel of 16 bits
WORDS_PER_SECOND = 2.5
_PAUSE = 0.2  # of a word's time
_FADE = 120  # samples
_AMPLITUDE = 9_000
# Two formants of each vowel, in Hz.
_FORMANTS = {"a": (800, 1200), "e": (500, 1900), "i": (300, 2300), "o": (500, 900), "u": (350, 700)}
_VOWELS = {**{vowel: vowel for vowel in _FORMANTS}, "y": "i"}
_MAX_HARMONIC = 3_000  # Hz


def duration(text: str, speed: float = 1.0) -> float:
    """How long it takes to say a text, in seconds."""
    return max(1, len(text.split())) / (WORDS_PER_SECOND * speed)


def spoken(text: str, voice: str, speed: float = 1.0) -> Iterator[bytes]:
    """The samples of a text, word by word."""
    digest = hashlib.sha256(voice.encode("utf-8", "surrogatepass")).digest()
    pitch = 90 + digest[0] % 130
    samples_per_word = SAMPLE_RATE / (WORDS_PER_SECOND * speed)
    said = 0
    for index, word in enumerate(text.split() or [""], 1):
        # Ends where it would end without rounding, so that errors do not add up.
        end = round(index * samples_per_word)
        yield _word(word, pitch + len(word) % 5 * 6, end - said)
        said = end


def _word(word: str, pitch: int, samples: int) -> bytes:
    """`samples` samples of one word and the pause behind it."""
    vowels = [_VOWELS[letter] for letter in word.lower() if letter in _VOWELS] or ["a"]
    pause = int(samples * _PAUSE)
    voiced = samples - pause
    sound = array("h")
    for index, vowel in enumerate(vowels, 1):
        missing = voiced * index // len(vowels) - len(sound)
        cycle = _cycle(pitch, vowel)
        sound.extend((cycle * (missing // len(cycle) + 1))[:missing])
    fade = min(_FADE, len(sound) // 2)
    for position in range(fade):
        sound[position] = sound[position] * position // fade
        sound[-1 - position] = sound[-1 - position] * position // fade
    sound.extend(array("h", bytes(2 * pause)))
    return sound.tobytes()


def _loudness(harmonic: int, pitch: int, vowel: str) -> float:
    """How loud a multiple of the pitch is: louder near a formant."""
    near = (math.exp(-(((harmonic * pitch - formant) / 150) ** 2)) for formant in _FORMANTS[vowel])
    return sum(near) + 0.3 / harmonic


@lru_cache(maxsize=512)
def _cycle(pitch: int, vowel: str) -> array:
    """One period of a vowel: harmonics that are louder near its formants."""
    length = SAMPLE_RATE // pitch
    harmonics = [(number, _loudness(number, pitch, vowel)) for number in range(1, _MAX_HARMONIC // pitch)]
    wave = [
        sum(loudness * math.sin(2 * math.pi * number * sample / length) for number, loudness in harmonics)
        for sample in range(length)
    ]
    loudest = max(map(abs, wave))
    return array("h", [int(value / loudest * _AMPLITUDE) for value in wave])
