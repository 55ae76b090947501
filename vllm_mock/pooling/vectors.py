"""Vectors of texts: a sum of one random direction for each word and for the pieces of each word.

Equal texts have equal vectors, and the more words two texts share, the closer they are; words of one stem share
pieces. A direction comes from a hash, so it is the same in every process, and its first n components are the
direction in n dimensions: a vector may be cut short like those of Matryoshka models.

The arithmetic is done on all components at once: a vector is one big integer with 32 bits per component. That is as
fast as a numerical library would be here (about 10 us for a word), which a small image and an idle server would
have to pay for. The caches hold at most 8 MB of vectors of 1536 dimensions.
"""

import hashlib
import math
import re
from array import array
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from operator import mul

from vllm_mock.turns import give_way

DEFAULT_DIMENSIONS = 1536
_LANE_BYTES = 4
_MEAN = 255 / 2  # of a component of a direction, which is a random byte

# Chinese and Japanese characters and Korean syllables are words; other marks stand for themselves.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+|[^\w\s]")
_WORD_WEIGHT = 6
_SHORT_WORD_WEIGHT = 3  # words of up to 3 letters say little about a text
_MARK_WEIGHT = 1
_PIECES = 8  # at most, of each word

Sum = tuple[int, int]
"""A sum of directions and the sum of their weights."""


def embed(text: str, dimensions: int = DEFAULT_DIMENSIONS, *, normalise: bool = True) -> list[float]:
    """The vector of a text: of length 1, or longer the more the text says."""
    lanes, weight = _weighted_sum(text, dimensions)
    components = array("I", lanes.to_bytes(_LANE_BYTES * dimensions, "little"))
    middle = _MEAN * weight
    length = math.dist(components, [middle] * dimensions) if normalise else _MEAN * math.sqrt(dimensions)
    scale = 1 / (length or 1.0)
    shift = middle * scale
    return [component * scale - shift for component in components]


def similarity(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of the angle between two unit vectors."""
    return sum(map(mul, one, other))


def _weighted_sum(text: str, dimensions: int) -> Sum:
    """Of all that the text holds; gives way to others from time to time."""
    whole = total = _direction(f"text {text}", dimensions)
    weight = 1
    for word, count in Counter(_WORD.findall(text.casefold())).items():
        lanes, word_weight = _word(word, dimensions)
        factor = count.bit_length()  # a word that is repeated counts for more, but not as often as it is there
        total += lanes * factor
        weight += word_weight * factor
        give_way()
    # With an odd weight no component is 0, which would be shown as an integer.
    return (total, weight) if weight % 2 else (total + whole, weight + 1)


@lru_cache(maxsize=512)
def _word(word: str, dimensions: int) -> Sum:
    """The sum of a word and its pieces."""
    if not word[0].isalnum():
        return _direction(f"word {word}", dimensions), _MARK_WEIGHT
    weight = _WORD_WEIGHT if len(word) > 3 else _SHORT_WORD_WEIGHT
    pieces = _pieces(word)
    total = _direction(f"word {word}", dimensions) * weight
    return total + sum(_piece(piece, dimensions) for piece in pieces), weight + len(pieces)


def _pieces(word: str) -> list[str]:
    """Three letters each, the beginning of the word marked."""
    marked = f"^{word}"
    return [marked[start : start + 3] for start in range(min(len(marked) - 2, _PIECES))] if len(word) > 3 else []


@lru_cache(maxsize=768)
def _piece(piece: str, dimensions: int) -> int:
    return _direction(f"piece {piece}", dimensions)


def _direction(feature: str, dimensions: int) -> int:
    """A random byte in each lane."""
    lanes = bytearray(_LANE_BYTES * dimensions)
    lanes[::_LANE_BYTES] = hashlib.shake_128(feature.encode("utf-8", "surrogatepass")).digest(dimensions)
    return int.from_bytes(lanes, "little")
