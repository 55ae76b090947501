"""JSON texts for schemas, checked where the schema asks for more than is followed while writing."""

import json
from collections.abc import Callable
from typing import Any

from vllm_mock.generation.draws import Draws

from .json_value import JsonWriter
from .schema import Schema, SchemaGraph

# The length of an answer that nothing bounds, in characters.
USUAL_LENGTH = 1200
_LENGTHS = (1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.2, 0.1, 0.0)
_ROUNDS = 6
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

    def text(self, draws: Draws, most: float | None = None, compact: bool = False) -> str:
        """A text of at most `most` characters where that is possible."""
        if most is None:
            most = self.usual
        separators = (",", ":") if compact else (", ", ": ")
        writer = JsonWriter(draws, *separators)
        root = self._root.root
        text = writer.text(root, most)
        if not self._root.rough:
            return text
        check = self._is_valid = self._is_valid or _validator(self._schema)
        for length in _LENGTHS * _ROUNDS:
            if check(json.loads(text)):
                break
            text = writer.text(root, most * length)
        return text


def json_text(schema: Schema, draws: Draws, most: float | None = None) -> str:
    """A JSON value that is valid against the schema, of at most `most` characters where that is possible."""
    return JsonSource(schema).text(draws, most)


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
