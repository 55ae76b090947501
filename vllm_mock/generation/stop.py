"""Where stop strings and stop token ids end an answer, and which text is held back while it runs.

As observed on vLLM 0.33.0: the stop string that ends first wins, and of those that end at the same character
the first in the list. The token that completes it counts. Text that could still become a stop string is held
back: always the longest stop string's length less one character, released with the last token.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from .spec import ChoicePlan, SamplingSpec


class StopMatch(NamedTuple):
    """The stop string found, and where it starts and ends in the text, in characters."""

    stop: str
    start: int
    end: int


def first_stop_token(token_ids: Sequence[int], stop_token_ids: Sequence[int], min_tokens: int) -> int | None:
    """Return the index of the first stop token after `min_tokens` tokens, or None."""
    stop_ids = frozenset(stop_token_ids)
    if stop_ids.isdisjoint(token_ids):
        return None
    return next((i for i in range(min_tokens, len(token_ids)) if token_ids[i] in stop_ids), None)


def first_stop_string(text: str, stops: Sequence[str], exempt: int) -> StopMatch | None:
    """Return the stop string that ends first beyond `exempt` characters (it may begin in them), or None."""
    found = None
    for stop in stops:
        start = text.find(stop, max(0, exempt - len(stop) + 1))
        if start >= 0 and (found is None or start + len(stop) < found.end):
            found = StopMatch(stop, start, start + len(stop))
    return found


def end_at_stop_token(choice: ChoicePlan, spec: SamplingSpec) -> None:
    """Cut an answer after the first stop token id; the token counts, but shows only if that is asked for."""
    index = first_stop_token(choice.token_ids, spec.stop_token_ids, spec.min_tokens)
    ends_by_itself = choice.finish_reason == "stop"
    if index is None or (ends_by_itself and index == len(choice.token_ids) - 1):
        return
    del choice.token_ids[index + 1 :], choice.deltas[index + 1 :]
    if not spec.include_stop_str_in_output:
        choice.deltas[index] = ""
    choice.finish_reason = "stop"
    choice.stop_reason = choice.token_ids[index]


def end_at_stop_string(choice: ChoicePlan, spec: SamplingSpec) -> None:
    """Cut an answer at the first stop string and delay its text as vLLM does."""
    text = choice.text
    include = spec.include_stop_str_in_output
    exempt = sum(map(len, choice.deltas[: spec.min_tokens]))
    match = first_stop_string(text, spec.stop, exempt)
    keep = len(text)
    if match:
        index = bisect_left(list(accumulate(map(len, choice.deltas))), match.end)
        del choice.token_ids[index + 1 :], choice.deltas[index + 1 :]
        choice.finish_reason = "stop"
        choice.stop_reason = match.stop
        keep = match.end if include else match.start
    if match or not include:
        choice.deltas = hold_back(choice.deltas, keep, 0 if include else max(map(len, spec.stop)) - 1)


def hold_back(deltas: Sequence[str], keep: int, held: int) -> list[str]:
    """Delay the text by `held` characters and cut it after `keep`; the last token brings what is due."""
    text = "".join(deltas)
    due = [max(0, length - held) for length in accumulate(map(len, deltas[:-1]))]
    return [text[start:end] for start, end in zip([0, *due], [*due, keep], strict=True)]
