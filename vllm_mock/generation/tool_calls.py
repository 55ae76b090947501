"""Which tools are called, and with which arguments."""

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from .draws import Draws

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[^\W_]+")
# Words of names that say nothing about what a function is for.
_COMMON = frozenset(("get", "set", "the", "for", "and", "run", "call", "tool", "function"))
_SHORTEST_WORD = 3
_MOST_CALLS = 3
_LONGEST_ARGUMENTS = 400  # characters, where the schema leaves the choice


class Function(NamedTuple):
    """A tool that can be called; `parameters` is the JSON schema of its arguments."""

    name: str
    description: str
    parameters: Any


Call = tuple[str, Any]


def choose_calls(functions: Sequence[Function], request: str, draws: Draws, *, several: bool) -> list[Call]:
    """Calls that answer a request: of the function that it names, or of several that it names."""
    asked = _words(request)
    named = [function for function in functions if asked & _words(function.name)]
    chosen = [_best(named or functions, asked, draws)]
    if several and len(named) > 1 and draws.below(2):
        chosen = named[:_MOST_CALLS]
    return [(function.name, _arguments(function, draws)) for function in chosen]


def _words(text: str) -> frozenset[str]:
    words = (word.lower() for word in _WORD.findall(text))
    return frozenset(word for word in words if len(word) >= _SHORTEST_WORD and word not in _COMMON)


def _best(functions: Sequence[Function], asked: frozenset[str], draws: Draws) -> Function:
    """The function whose name and description have most words of the request, one of those with equally many."""
    scores = [2 * len(asked & _words(f.name)) + len(asked & _words(f.description)) for f in functions]
    highest = max(scores)
    best = [function for function, score in zip(functions, scores, strict=True) if score == highest]
    return best[draws.below(len(best))]


def _arguments(function: Function, draws: Draws) -> Any:
    """Arguments that are valid against the function's schema."""
    # Imported here: a text needs none of it.
    from .structured import json_text

    schema = function.parameters
    if not schema:
        return {}
    if isinstance(schema, dict):
        schema = {"type": "object", **schema}
    return json.loads(json_text(schema, draws, _LONGEST_ARGUMENTS))
