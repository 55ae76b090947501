"""Structured texts as tokens: within the number that a request allows, where that is possible."""

import json
from collections.abc import Sequence

from vllm_mock.generation.draws import Draws
from vllm_mock.tokenizer import Tokenizer

from .expression import LONGEST_TEXT
from .structure import Structure, source

_TRIES = 8
# More than tokens usually have: no more of a text that cannot fit is written.
_CHARS_PER_TOKEN = 16
_SPARE_CHARS = 1000
# The next try is a little shorter than the last one's number of tokens calls for.
_MARGIN = 0.9


def structured_ids(
    tokenizer: Tokenizer, structure: Structure, draws: Draws, room: int, least: int = 0, most_chars: float | None = None
) -> list[int]:
    """Tokens of a text that follows the structure, if possible `least` to `room` of them.

    `most_chars` is the usual bound of its length in characters. More than `room` tokens are returned only if no text
    that is short enough was found. Raises ValueError for a structure that cannot be followed.
    """
    try:
        return _fitted(tokenizer, structure, draws, room, least, most_chars)
    except (RecursionError, OverflowError) as error:
        raise ValueError(f"too deep or too large: {error}") from error


def _fitted(
    tokenizer: Tokenizer, structure: Structure, draws: Draws, room: int, least: int, most_chars: float | None
) -> list[int]:
    made = source(structure)
    wanted = None if most_chars is None else max(most_chars, 2 * made.shortest)
    longest = min(LONGEST_TEXT, _SPARE_CHARS + room * _CHARS_PER_TOKEN)
    ids = _ids(tokenizer, made.text(draws, wanted, longest=longest))
    if len(ids) > room and made.shortest > room * tokenizer.max_chars_per_token:
        return ids
    most = float(wanted or 0)
    for _ in range(_TRIES):
        if len(ids) <= room:
            break
        shown = len(tokenizer.decode(ids))
        most = max(made.shortest, min(shown, most or shown) * _MARGIN * room / len(ids))
        ids = _ids(tokenizer, made.text(draws, most))
    if len(ids) > room:
        ids = _ids(tokenizer, made.text(draws, 0, compact=True))
    if len(ids) < least:
        ids = _longer(tokenizer, structure, ids, draws, room, least)
    return ids


def _longer(
    tokenizer: Tokenizer, structure: Structure, ids: list[int], draws: Draws, room: int, least: int
) -> list[int]:
    """A text of at least so many tokens: a longer one, or one with more white space; else `ids`."""
    made = source(structure)
    for factor in (2, 4, 8):
        longer = _ids(tokenizer, made.text(draws, factor * max(200, made.shortest)))
        if least <= len(longer) <= room:
            return longer
    if structure.kind != "json" or not structure.any_whitespace:
        return ids
    text = tokenizer.decode(ids)
    if not text.startswith(("{", "[")):
        return ids
    spread = json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    filled = 0
    while len(ids) < least and filled <= room:
        ids = _ids(tokenizer, spread[0] + "\n " * filled + spread[1:])
        filled += max(1, least - len(ids))
    return ids


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """The tokens of a text, in which special tokens are not meant even where they are spelled."""
    ids = tokenizer.encode(text, add_special_tokens=False)
    if tokenizer.all_special_ids.isdisjoint(ids):
        return ids
    return _joined([tokenizer.encode(character, add_special_tokens=False) for character in text])


def _joined(parts: Sequence[list[int]]) -> list[int]:
    return [token_id for part in parts for token_id in part]
