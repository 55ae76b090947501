"""Classes of texts: how close the vector of a text is to a random direction of each class."""

import math
from collections.abc import Sequence
from functools import lru_cache

from vllm_mock.pooling.vectors import DEFAULT_DIMENSIONS, embed, similarity

# vLLM's names where a model's configuration has none.
LABELS = ("LABEL_0", "LABEL_1")
# The cosine of unrelated vectors has a standard deviation of 1/sqrt(dimensions): logits then have one of 1.
_SCALE = math.sqrt(DEFAULT_DIMENSIONS)


def logits(vector: Sequence[float]) -> list[float]:
    """A number for each class, from the vector of a text in DEFAULT_DIMENSIONS."""
    return [_SCALE * similarity(vector, _class_direction(label)) for label in LABELS]


def probabilities(vector: Sequence[float]) -> list[float]:
    """The softmax of the logits."""
    exponentials = [math.exp(logit) for logit in logits(vector)]
    total = sum(exponentials)
    return [one / total for one in exponentials]


@lru_cache(maxsize=len(LABELS))
def _class_direction(label: str) -> list[float]:
    return embed(f"class {label}")
