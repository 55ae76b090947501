"""Structured outputs that no grammar can be made of, refused in vLLM's words."""

import json
from typing import Any

from vllm_mock.protocol import guidance, xgrammar_schemas, xgrammar_texts
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.structured import StructuredOutputsParams, check_nesting


def check_structured_outputs(wanted: StructuredOutputsParams | None) -> None:
    """Raises ApiError for a constraint that no output can be held to."""
    if wanted is None:
        return
    if wanted.choice is not None and not wanted.choice:
        raise ApiError.bad_request("Choice '[]' cannot be an empty list")
    _check_not_blank("grammar", wanted.grammar)
    _check_not_blank("json", wanted.json)
    check_nesting(wanted.json)
    if wanted.json_object is False:
        raise ApiError.bad_request(
            "structured_outputs.json_object must be True if set; omit structured_outputs to disable structured outputs"
        )
    if wanted.regex is not None and "\0" in wanted.regex:
        raise ApiError.bad_request("structured_outputs.regex must not contain a NUL character ('\\x00')")
    fault = _fault(wanted)
    if fault is not None:
        raise ApiError.bad_request(fault)


def _check_not_blank(name: str, value: Any) -> None:
    if isinstance(value, str) and not value.strip():
        raise ApiError.bad_request(f"structured_outputs.{name} cannot be an empty string")


def _fault(wanted: StructuredOutputsParams) -> str | None:
    if wanted.regex is not None:
        return xgrammar_texts.regex_fault(wanted.regex)
    if wanted.grammar is not None:
        return xgrammar_texts.grammar_fault(wanted.grammar)
    return _schema_fault(wanted.json) if wanted.json is not None else None


def _schema_fault(schema: str | dict[str, Any]) -> str | None:
    if isinstance(schema, str):
        try:
            schema = json.loads(schema)
        except (ValueError, RecursionError):
            return "Invalid JSON grammar specification."
    # Outlines gets what has patterns of properties and is not left to xgrammar; it takes what it cannot hold to.
    if isinstance(schema, dict) and (xgrammar_schemas.takes(schema) or xgrammar_schemas.has_pattern_properties(schema)):
        return None
    return guidance.schema_fault(schema)
