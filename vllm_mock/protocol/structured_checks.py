"""Structured outputs that no grammar can be made of, in the words of vLLM's grammar libraries.

A real server compiles the constraint; here only the faults that people make are found: what is not listed
below is accepted.
"""

import json
import re
from typing import Any

from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.regex_faults import regex_fault
from vllm_mock.protocol.structured import StructuredOutputsParams

_TYPES = frozenset(("null", "boolean", "object", "array", "number", "string", "integer"))
_NUMBER_KEYWORDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_SUBSCHEMAS = ("items", "additionalProperties", "not")
_SUBSCHEMA_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SUBSCHEMA_MAPS = ("properties", "$defs", "definitions")

_RULE = re.compile(r"^\s*([\w-]+)\s*::=", re.MULTILINE)
_NOT_NAMES = re.compile(r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|#.*|[\w-]+\s*::=')


def check_structured_outputs(wanted: StructuredOutputsParams | None) -> None:
    """Raises ApiError for a constraint that no output can be held to."""
    if wanted is None:
        return
    if wanted.json_object is False:
        raise ApiError.bad_request(
            "structured_outputs.json_object must be True if set; omit structured_outputs to disable structured outputs"
        )
    if wanted.choice is not None and not wanted.choice:
        raise ApiError.bad_request("Choice '[]' cannot be an empty list")
    if wanted.regex is not None:
        _check_regex(wanted.regex)
    if wanted.grammar is not None:
        _check_grammar(wanted.grammar)
    if wanted.json is not None:
        _check_schema(wanted.json)


def _check_regex(pattern: str) -> None:
    fault = regex_fault(pattern)
    if fault is not None:
        raise ApiError.bad_request(
            f"Grammar error: at 1(8): invalid regex {json.dumps(pattern, ensure_ascii=False)} (in regex): "
            f"{fault}\n   1 | start: /{pattern}/\n              ^"
        )


def _check_schema(schema: str | dict[str, Any]) -> None:
    if isinstance(schema, str):
        if not schema.strip():
            raise ApiError.bad_request("structured_outputs.json cannot be an empty string")
        try:
            schema = json.loads(schema)
        except (ValueError, RecursionError):
            raise ApiError.bad_request("Invalid JSON grammar specification.") from None
    if not isinstance(schema, dict):
        text = "Invalid grammar specification: Expecting object schema to apply options"
        raise ApiError.bad_request(text)
    fault = _schema_fault(schema, schema)
    if fault is not None:
        raise ApiError.bad_request(f"Grammar error: {fault}")


def _schema_fault(schema: Any, root: dict[str, Any]) -> str | None:
    """The first fault of a JSON schema, None if there is none."""
    if not isinstance(schema, dict):
        return None
    return (
        _type_fault(schema.get("type"))
        or _pointer_fault(schema.get("$ref"), root)
        or _keyword_fault(schema)
        or next(filter(None, (_schema_fault(part, root) for part in _parts(schema))), None)
    )


def _type_fault(kind: Any) -> str | None:
    if kind is None:
        return None
    kinds = [kind] if isinstance(kind, str) else kind
    if not isinstance(kinds, list) or not all(isinstance(name, str) for name in kinds):
        return "type must be a string or array of strings"
    unknown = next((name for name in kinds if name not in _TYPES), None)
    return None if unknown is None else f"Invalid type: {unknown}"


def _pointer_fault(reference: Any, root: Any) -> str | None:
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return None
    found = root
    for step in reference[2:].split("/"):
        if not isinstance(found, dict) or step not in found:
            return f"Pointer '{reference[1:]}' does not exist"
        found = found[step]
    return None


def _keyword_fault(schema: dict[str, Any]) -> str | None:
    if not isinstance(schema.get("properties", {}), dict):
        return "properties must be an object"
    for name in _NUMBER_KEYWORDS:
        value = schema.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"Expected f64 for '{name}', got {json.dumps(value)}"
    pattern = schema.get("pattern")
    return regex_fault(pattern) if isinstance(pattern, str) else None


def _parts(schema: dict[str, Any]) -> list[Any]:
    parts = [schema.get(name) for name in _SUBSCHEMAS]
    for name in _SUBSCHEMA_LISTS:
        value = schema.get(name)
        parts += value if isinstance(value, list) else []
    for name in _SUBSCHEMA_MAPS:
        value = schema.get(name)
        parts += value.values() if isinstance(value, dict) else []
    return parts


def _check_grammar(grammar: str) -> None:
    """GBNF (`root ::= …`), or Lark (`start: …`), which is taken as it is."""
    if not grammar.strip():
        raise ApiError.bad_request("structured_outputs.grammar cannot be an empty string")
    if "::=" not in grammar and ":" in grammar:
        return
    fault = _gbnf_fault(grammar)
    if fault is not None:
        text = "Invalid grammar specification: Failed to convert the grammar from GBNF to Lark:"
        raise ApiError.bad_request(f"{text} {fault}")


def _gbnf_fault(grammar: str) -> str | None:
    if "::=" not in grammar:
        return f"Expected ::= at line 1, '{grammar}' ^ ''"
    names = set(_RULE.findall(grammar))
    if "root" not in names:
        return "No 'root' rule found"
    rest = _NOT_NAMES.sub(" ", grammar)
    if '"' in rest or "[" in rest:
        line = grammar.count("\n") + 1
        return f"Unexpected end of input at line {line}, '{grammar}' ^ ''"
    unknown = next((name for name in re.findall(r"[A-Za-z_][\w-]*", rest) if name not in names), None)
    return None if unknown is None else f"Rule '{unknown}' not found"
