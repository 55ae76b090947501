"""How likely given tokens are to come next: without meaning, but the same at every time."""

import math
from collections.abc import Sequence

from .draws import Draws, prompt_key

_SPREAD = 2.0


def next_token_logprobs(prompt_token_ids: Sequence[int], labels: Sequence[int], vocab_size: int) -> list[float]:
    """The log probability (natural logarithm) of each of `labels` after a prompt.

    The logits are normal draws, so the sum of exp(logit) over the vocabulary is near its expectation,
    vocab_size * exp(spread^2 / 2), by which they are normalised.
    """
    key = prompt_key(prompt_token_ids, None)
    normaliser = math.log(vocab_size) + _SPREAD**2 / 2
    logits = [Draws(key ^ (label << 32)).normal(0.0, _SPREAD) for label in labels]
    return [min(logit - normaliser, -1e-6) for logit in logits]
