"""Batch: what one step of the engine computes, as sums, so that its time costs little to find."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Batch:
    """The work of one step.

    decode_requests: sequences that get one token each from one token of input.
    decode_context_tokens: sum of the lengths of their KV caches, the new tokens not included.
    prefills: per chunk of a prompt (new tokens, tokens before them: cached or computed earlier).
    """

    decode_requests: int
    decode_context_tokens: int
    prefills: Sequence[tuple[int, int]] = ()
