"""What a request asks of the form of its answer, and what makes such texts."""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Protocol

from vllm_mock.generation.draws import Draws

from .expression import INFINITE, LONGEST_TEXT, Choice, Expression, Pen, Written
from .expression import Literal as Constant
from .grammar import grammar
from .json_source import JsonSource
from .regular import regular
from .tag import structural_tag
from .walk import Walk

Kind = Literal["json", "regex", "choice", "grammar", "structural_tag"]

_USUAL_LENGTH = 600


@dataclass(frozen=True, slots=True)
class Structure:
    """A constraint. `value` is a pattern or a grammar, else JSON text: a schema, a list of choices, a tag."""

    kind: Kind
    value: str
    any_whitespace: bool = True
    additional_properties: bool = True


class Source(Protocol):
    """Makes texts. Lengths are in characters."""

    @property
    def shortest(self) -> float:
        """Length of about the shortest text."""

    def text(
        self, draws: Draws, most: float | None = None, compact: bool = False, longest: float = LONGEST_TEXT
    ) -> str:
        """A text of at most `most` characters where that is possible; its end may be wrong beyond `longest`."""


@lru_cache(maxsize=32)
def source(structure: Structure) -> Source:
    """What makes the texts of a structure. Raises ValueError for one that cannot be followed."""
    if structure.kind == "json":
        return _JsonSource(structure, json.loads(structure.value))
    try:
        return _ExpressionSource(_expression(structure))
    except ValueError:
        if structure.kind not in ("regex", "grammar"):
            raise
        return Walk(structure.kind, structure.value)


class _JsonSource(JsonSource):
    """JSON texts with the white space that a structure allows."""

    def __init__(self, structure: Structure, schema: Any) -> None:
        super().__init__(schema if structure.additional_properties else closed(schema))
        self._any_whitespace = structure.any_whitespace

    def text(
        self, draws: Draws, most: float | None = None, compact: bool = False, longest: float = LONGEST_TEXT
    ) -> str:
        return super().text(draws, most, compact or not self._any_whitespace, longest)


class _ExpressionSource:
    def __init__(self, expression: Expression) -> None:
        self._expression = expression
        self.shortest = expression.shortest

    def text(
        self, draws: Draws, most: float | None = None, compact: bool = False, longest: float = LONGEST_TEXT
    ) -> str:
        pen = Pen(draws, longest)
        usual = max(_USUAL_LENGTH, min(2 * self.shortest, self.shortest + _USUAL_LENGTH))
        self._expression.write(pen, 0, usual if most is None else most)
        return pen.text


def json_text(schema: Any, draws: Draws, most: float | None = None) -> str:
    """A JSON value that is valid against the schema, of at most `most` characters where that is possible."""
    return source(Structure("json", json.dumps(schema))).text(draws, most)


def _expression(structure: Structure) -> Expression:
    def json_expression(schema: Any) -> Expression:
        made = _JsonSource(structure, schema)
        return Written(made.shortest, INFINITE, lambda draws, least, most: made.text(draws, most))

    value = structure.value
    if structure.kind == "regex":
        return regular(value)
    if structure.kind == "choice":
        return Choice([Constant(text) for text in json.loads(value)])
    if structure.kind == "grammar":
        return grammar(value, json_expression)
    return structural_tag(json.loads(value), json_expression)


def closed(schema: Any) -> Any:
    """The schema with no properties beyond those it lists."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    result = {name: part if name in ("enum", "const") else closed(part) for name, part in schema.items()}
    lists = any(isinstance(schema.get(name), dict) for name in ("properties", "patternProperties"))
    if lists and "additionalProperties" not in schema:
        result["additionalProperties"] = False
    return result
