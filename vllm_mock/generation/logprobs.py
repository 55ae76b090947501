"""Log probabilities that look plausible: there is no model behind them, but they repeat and they add up.

Probabilities by rank are p, then (1 - p) / (zeta(2) * (rank - 1)^2), so no list sums to more than one.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from vllm_mock.tokenizer import Tokenizer

from .detokenize import Detokenizer
from .draws import GOLDEN_GAMMA, MASK64, mix64

# "All of the vocabulary" would be tens of thousands of entries for each token.
MAX_ALL = 1024
_PROFILES = 64
_ZETA_2 = math.pi**2 / 6


@dataclass(slots=True)
class TokenLogprobs:
    """The log probability (natural logarithm) of one token, and the likeliest tokens in its place.

    `token` is the token's text, "" while a character is incomplete. `top` holds (id, logprob), as vLLM first
    the token itself, then the others of the k likeliest by rank; so k entries, or k + 1 when the token is not
    among them. `top_tokens` holds the text of each entry of `top`.
    """

    token_id: int
    token: str
    logprob: float
    rank: int
    top: list[tuple[int, float]]
    top_tokens: list[str]

    def ranked(self) -> Iterator[tuple[int, str, float, int]]:
        """Yield (id, text, logprob, rank) of each entry of `top`."""
        for index, ((token_id, logprob), token) in enumerate(zip(self.top, self.top_tokens, strict=True)):
            if index == 0:
                yield token_id, token, logprob, self.rank
            else:
                yield token_id, token, logprob, index if index < self.rank else index + 1


class LogprobSource:
    """Makes log probabilities; the alternatives to a token are words of the corpus."""

    def __init__(self, tokenizer: Tokenizer, detokenizer: Detokenizer, corpus_ids: Sequence[int]) -> None:
        self._piece = tokenizer.piece
        self._texts = detokenizer.token_texts
        self._vocab_size = tokenizer.vocab_size
        # In the order of their first use, each once.
        self._words = [token_id for token_id in dict.fromkeys(corpus_ids) if self._piece(token_id) is not None]
        self._all: list[int] | None = None

    def of_output(self, token_ids: Sequence[int], top: int, key: int, greedy: bool) -> list[TokenLogprobs]:
        """Return one entry per generated token; `top` as the request says (-1: all), `key` from the draws.

        A greedy answer consists of tokens of rank 1.
        """
        return self._entries(token_ids, top, key, 0 if greedy else 1)

    def of_prompt(self, token_ids: Sequence[int], top: int) -> list[TokenLogprobs | None]:
        """Return one entry per prompt token; nothing precedes the first one, so it has None."""
        entries: list[TokenLogprobs | None] = list(self._entries(token_ids, top, GOLDEN_GAMMA, 2))
        entries[:1] = [None] * len(entries[:1])
        return entries

    def _entries(self, token_ids: Sequence[int], top: int, key: int, surprise: int) -> list[TokenLogprobs]:
        count = min(top if top >= 0 else MAX_ALL, self._vocab_size)
        return [
            self._entry(token_id, text, count, mix64((key + index * GOLDEN_GAMMA) ^ (token_id << 32)), surprise)
            for index, (token_id, text) in enumerate(zip(token_ids, self._texts(token_ids), strict=True))
        ]

    def _entry(self, token_id: int, text: str, count: int, bits: int, surprise: int) -> TokenLogprobs:
        profile = bits % _PROFILES
        rank = _rank(profile, surprise)
        logprob, others = _ranked_logprobs(profile, rank, count)
        ids, texts = self._alternatives(token_id, bits >> 8, len(others))
        # The vocabulary may hold fewer alternatives than there are places.
        top = [(token_id, logprob), *zip(ids, others, strict=False)]
        return TokenLogprobs(token_id, text, logprob, rank, top, [text, *texts])

    def _alternatives(self, token_id: int, bits: int, count: int) -> tuple[list[int], list[str]]:
        """Return `count` tokens other than `token_id`, fewer if there are no more, and their texts."""
        pool = self._words if count < len(self._words) else self._whole_vocabulary()
        start = bits % max(1, len(pool) - count)
        ids = pool[start : start + count + 1]
        if token_id in ids:
            ids.remove(token_id)
        else:
            del ids[count:]
        return ids, [self._piece(i) or self._texts([i])[0] for i in ids]

    def _whole_vocabulary(self) -> list[int]:
        if self._all is None:
            words = frozenset(self._words)
            self._all = self._words + [i for i in range(self._vocab_size) if i not in words]
        return self._all


def _rank(profile: int, surprise: int) -> int:
    """Return the rank of a token: 1 without surprise, mostly 1 with little, varied with much (a prompt)."""
    if surprise == 0:
        return 1
    if surprise == 1:
        return 1 if profile >= 8 else 2 + profile % 3
    return 1 if profile % 2 else 1 + profile * profile // 16


@lru_cache(maxsize=4096)
def _ranked_logprobs(profile: int, rank: int, count: int) -> tuple[float, list[float]]:
    """Return the log probability of a rank in one of the distributions, and those of the others to be listed.

    These are the other ones of the first `count` ranks.
    """
    likeliest = 0.42 + 0.56 * mix64(profile) / MASK64
    rest = math.log((1.0 - likeliest) / _ZETA_2)
    places = range(1, max(count, rank))
    ranked = [math.log(likeliest), *(rest - 2.0 * math.log(place) for place in places)]
    logprob = ranked[rank - 1]
    del ranked[rank - 1], ranked[max(0, count - (rank <= count)) :]
    return logprob, ranked
