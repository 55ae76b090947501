"""What is said: a sentence that names the model and the pod, then sentences from the corpus, without end."""

import re
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from vllm_mock.tokenizer import Tokenizer

from .detokenize import Detokenizer
from .draws import Draws

# The place after a full stop (no title's) and closing quotes where white space and a new sentence follow.
_SENTENCE_END = re.compile(r"[.!?](?<!\b[DM][rs]\.)(?<!\bMrs\.)(?<!\bSt\.)[\"'”’)]*(?=\s+[\"'“‘(]?[^\W\d_a-z])")
# In prose one start in about 25 (the tokens of a sentence) has a fitting end.
_MAX_TRIES = 250

INTRODUCTIONS = (
    "This is {model} on pod {pod}.",
    "You have reached {model} on pod {pod}.",
    "Here speaks {model} from pod {pod}.",
    "This answer comes from {model} on pod {pod}.",
    "Greetings from {model}, running on pod {pod}.",
    "{model} is at your service from pod {pod}.",
    "Thanks for asking {model}, today on pod {pod}.",
    "Hello, this is {model} and the pod is {pod}.",
)


class Passage(NamedTuple):
    """Token ids and the text increment of each."""

    ids: list[int]
    deltas: list[str]


class Corpus:
    """A pre-tokenised text that begins and ends with whole sentences, read as an endless ring."""

    def __init__(self, token_ids: Sequence[int], deltas: Sequence[str]) -> None:
        """Take the token ids of a text and their text increments; raises ValueError if there are none."""
        if not token_ids:
            raise ValueError("the corpus is empty")
        starts = sentence_starts(deltas)
        if len(starts) < 2:
            starts = [0, len(token_ids)]
        first, last = starts[0], starts[-1]
        # Each number once: a list made from the file's would hold one object for each of its tokens.
        once: dict[int, int] = {}
        self.ids = [once.setdefault(token_id, token_id) for token_id in token_ids[first:last]]
        self.deltas = list(deltas[first:last])
        ring = [start - first for start in starts if start < last]
        size = len(self.ids)
        self._count = len(ring)
        # Two rounds to begin in and three to end in spare the search the turn at the end of the ring.
        self._starts = array("I", (start + lap for lap in (0, size) for start in ring))
        round_of_starts = bytearray(size)
        for start in ring:
            round_of_starts[start] = True
        self._is_start = (bytes(round_of_starts) * 3).__getitem__

    def __len__(self) -> int:
        return len(self.ids)

    def sentence_start(self, draws: Draws, length: int) -> int:
        """Draw the start of a sentence, if possible one such that `length` tokens end with a sentence too."""
        size = len(self.ids)
        offset = length % size
        drawn = draws.below(self._count)
        candidates = self._starts[drawn : drawn + _MAX_TRIES]
        end = next(filter(self._is_start, map(offset.__add__, candidates)), None)
        return (candidates[0] if end is None else end - offset) % size

    def passage(self, start: int, length: int) -> Passage:
        """Return `length` tokens from a start in [0, len(self)), going round as often as needed."""
        end = start + length
        size = len(self.ids)
        if end <= size:
            return Passage(self.ids[start:end], self.deltas[start:end])
        rounds, rest = divmod(end - size, size)
        return Passage(
            self.ids[start:] + self.ids * rounds + self.ids[:rest],
            self.deltas[start:] + self.deltas * rounds + self.deltas[:rest],
        )


def sentence_starts(deltas: Sequence[str]) -> list[int]:
    """Return the indices of the tokens, leading space included, at which a sentence follows another."""
    # No list: its numbers would take 3 MB at a start, which the heap then keeps.
    ends = array("I", accumulate(map(len, deltas)))
    starts = []
    for match in _SENTENCE_END.finditer("".join(deltas)):
        token = bisect_left(ends, match.end())
        if ends[token] == match.end():
            starts.append(token + 1)
    return starts


class Introductions:
    """The first sentences of answers, tokenised when first used."""

    # Names of models come from clients where any name is accepted, so they must not pile up.
    _MAX_CACHED = 1024

    def __init__(self, pod_name: str, tokenizer: Tokenizer, detokenizer: Detokenizer) -> None:
        self._pod_name = pod_name
        self._encode = tokenizer.encode
        self._detokenizer = detokenizer
        self._cache: dict[tuple[str, int], Passage] = {}

    def draw(self, draws: Draws, model: str) -> Passage:
        """Return one of the introductions of a model."""
        key = (model, draws.below(len(INTRODUCTIONS)))
        passage = self._cache.get(key)
        if passage is None:
            text = INTRODUCTIONS[key[1]].format(model=model, pod=self._pod_name)
            ids = self._encode(text, add_special_tokens=False)
            passage = Passage(ids, self._detokenizer.deltas(ids))
            if len(self._cache) >= self._MAX_CACHED:
                self._cache.clear()
            self._cache[key] = passage
        return passage
