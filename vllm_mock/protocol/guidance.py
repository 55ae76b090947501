"""Faults of constraints in the words of llguidance, the library that has the last word in vLLM.

vLLM asks xgrammar first and llguidance when that refuses; here what xgrammar takes is told by rules of our own
(`xgrammar_schemas`, `xgrammar_texts`), so that llguidance is imported (80 ms, 9 MB) for dubious requests alone.
"""

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from vllm_mock.turns import apart

_LARGEST_INTEGER = 2**63 - 1
# llguidance takes a quarter of a second for so many characters, and more than a quadratic time beyond: a longer text is
# taken as it is.
_MOST_CHARS = 65_536


@lru_cache(maxsize=64)
def regex_fault(pattern: str) -> str | None:
    """What vLLM says of a regular expression that llguidance cannot take; None if it can."""
    return _fault(pattern, lambda: _llguidance().grammar_from("regex", pattern))


@lru_cache(maxsize=64)
def grammar_fault(grammar: str) -> str | None:
    """The same for a grammar in GBNF or Lark."""
    return _fault(grammar, lambda: _llguidance().grammar_from("grammar", grammar))


def schema_fault(schema: Any) -> str | None:
    """The same for a JSON schema, or the text of one."""
    options = {"whitespace_flexible": True}
    text = schema if isinstance(schema, str) else json.dumps(_within_64_bits(schema))
    return _fault(text, lambda: _llguidance().LLMatcher.grammar_from_json_schema(text, defaults=options))


def _llguidance() -> Any:
    import llguidance

    return llguidance


def _fault(text: str, make: Callable[[], str]) -> str | None:
    if len(text) > _MOST_CHARS:
        return None
    try:
        grammar = make()
        # A grammar that grows by its own rules takes up to a second.
        fault = apart(lambda: _llguidance().LLMatcher.validate_grammar(grammar, None))
    except (ValueError, KeyError, TypeError) as error:
        return f"Invalid grammar specification: {error}".rstrip()
    return f"Grammar error: {fault}".rstrip() if fault else None


def _within_64_bits(value: Any) -> Any:
    """llguidance reads larger integers as the largest."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _LARGEST_INTEGER:
        return float(value)
    if isinstance(value, dict):
        return {name: _within_64_bits(part) for name, part in value.items()}
    return [_within_64_bits(part) for part in value] if isinstance(value, list) else value
