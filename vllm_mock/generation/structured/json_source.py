"""JSON texts for schemas, checked where the schema asks for more than is followed while writing."""

import json
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

from vllm_mock.generation.draws import Draws

from .expression import LONGEST_TEXT
from .json_value import JsonWriter
from .schema import Schema, SchemaGraph

# The length of an answer that nothing bounds, in characters.
USUAL_LENGTH = 1200
# How often a text of the wanted length is tried, then one that is shorter, then one that is too long.
_TRIES = ((24, 1.0), (6, 0.5), (6, 0.2), (6, 0.0), (6, 2.0), (12, 4.0))
# All that is tried may have so many characters; the check of a long text takes its time.
_MOST_CHECKED = 20_000
# What a text that is too long may have at least, in characters.
_ENOUGH = 30
_LONGEST = 10**9


class JsonSource:
    """Makes JSON texts for one schema; safe to share, and dear to make for a large schema."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._root = SchemaGraph(schema)
        self._is_valid: Callable[[Any], bool] | None = None

    @property
    def shortest(self) -> float:
        """Length of about the shortest text, in characters; infinite if there is none."""
        return self._root.root.shortest

    @property
    def usual(self) -> float:
        """Length that a text may take if nothing bounds it, in characters."""
        shortest = min(self.shortest, _LONGEST)
        return max(USUAL_LENGTH, min(2 * shortest, shortest + USUAL_LENGTH))

    def text(
        self, draws: Draws, most: float | None = None, compact: bool = False, longest: float = LONGEST_TEXT
    ) -> str:
        """A text of at most `most` characters where that is possible; its end may be wrong beyond `longest`."""
        if most is None:
            most = self.usual
        writer = JsonWriter(draws, compact, longest)
        root = self._root.root
        text = writer.text(root, most)
        if not self._root.rough:
            return text
        check = self._is_valid = self._is_valid or _validator(self._schema)
        written = 0
        for limit in self._limits(most):
            written += len(text)
            if written > _MOST_CHECKED or check(json.loads(text)):
                break
            text = writer.text(root, limit)
            # The usual choices are not what is wanted.
            writer.telling = max(0, writer.telling - 5)
        return text

    def _limits(self, most: float) -> Iterator[float]:
        for count, factor in _TRIES:
            limit = max(most, min(self.shortest, _LONGEST) + _ENOUGH) if factor > 1 else most
            yield from repeat(limit * factor, count)


def _validator(schema: Schema) -> Callable[[Any], bool]:
    # Imported here: it costs 0.1 s and 9 MB, and few schemas need it.
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for

    found = validator_for(schema, default=Draft202012Validator)(schema)

    def is_valid(value: Any) -> bool:
        try:
            return found.is_valid(value)
        except Exception:  # a schema that cannot be checked (a broken pattern or reference) is met by anything
            return True

    return is_valid
