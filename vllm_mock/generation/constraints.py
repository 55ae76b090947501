"""Requests that restrict the vocabulary: allowed_token_ids, logit_bias and bad_words.

Off the common path: such an answer is made token by token from the usual text, without what may not appear.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, filterfalse, repeat

from vllm_mock.tokenizer import Tokenizer

from .draws import Draws
from .spec import SamplingSpec

# vLLM clamps a bias to [-100, 100]; at its ends it decides by itself.
FORCING_BIAS = 100.0
# Bad words can make every allowed token impossible: the answer ends then.
_MAX_REJECTED = 10_000


def is_constrained(spec: SamplingSpec) -> bool:
    """Whether anything restricts the vocabulary; smaller biases than vLLM's largest do not."""
    if spec.allowed_token_ids is not None or spec.bad_words:
        return True
    return any(abs(bias) >= FORCING_BIAS for bias in (spec.logit_bias or {}).values())


class Constraints:
    """Which tokens an answer may consist of."""

    def __init__(self, tokenizer: Tokenizer, spec: SamplingSpec) -> None:
        bias = spec.logit_bias or {}
        self._token_bytes = tokenizer.token_bytes
        self._eos = tokenizer.eos_token_id
        self._banned = frozenset(i for i, value in bias.items() if value <= -FORCING_BIAS)
        self._allowed = _allowed(spec.allowed_token_ids, bias, self._banned)
        self._bad_words = [word.encode() for word in spec.bad_words or () if word]

    @property
    def eos_possible(self) -> bool:
        """Whether the answer can end by itself."""
        return self._eos not in self._banned if self._allowed is None else self._eos in self._allowed

    def tokens(self, usual: Sequence[int], count: int, draws: Draws) -> list[int]:
        """Return `count` tokens other than the end of sequence (fewer if they are all excluded).

        Taken from the ring of the `usual` ones, or drawn from those that are allowed.
        """
        tail_length = max(map(len, self._bad_words), default=1) - 1
        tail = b""
        chosen: list[int] = []
        rejected = 0
        for token_id in self._candidates(usual, draws):
            if len(chosen) >= count or rejected > _MAX_REJECTED:
                break
            text = tail + self._token_bytes(token_id)
            if any(word in text for word in self._bad_words):
                rejected += 1
                continue
            rejected = 0
            chosen.append(token_id)
            tail = text[-tail_length:] if tail_length else b""
        return chosen

    def _candidates(self, usual: Sequence[int], draws: Draws) -> Iterator[int]:
        if self._allowed is None:
            if self._banned.issuperset(usual):
                return iter(())
            return filterfalse(self._banned.__contains__, cycle(usual))
        pool = sorted(self._allowed - {self._eos})
        return (pool[draws.below(len(pool))] for _ in repeat(None)) if pool else iter(())


def _allowed(
    allowed_token_ids: Sequence[int] | None, bias: Mapping[int, float], banned: frozenset[int]
) -> frozenset[int] | None:
    """Return the only tokens that can be sampled, or None if there is no such list."""
    forced = frozenset(i for i, value in bias.items() if value >= FORCING_BIAS)
    if allowed_token_ids is None:
        return forced or None
    allowed = frozenset(allowed_token_ids) - banned
    return allowed & forced or allowed
