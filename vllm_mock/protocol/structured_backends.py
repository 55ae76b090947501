"""What each backend of --structured-outputs-config says of a constraint. None: it takes it.

`auto` is vLLM's default: xgrammar, and where that refuses another library that has the last word.
"""

import json
from collections.abc import Callable
from typing import Any

from vllm_mock.protocol import guidance, xgrammar_schemas, xgrammar_texts
from vllm_mock.protocol.structural_tag import tag_fault
from vllm_mock.protocol.structured import StructuredOutputsParams

_NOT_JSON = "Invalid JSON grammar specification."
_FOREIGN = "The provided JSON schema contains features not supported by xgrammar."


def fault(wanted: StructuredOutputsParams, backend: str) -> str | None:
    """Why the constraint is refused, in vLLM's words."""
    return _BACKENDS[backend](wanted)


def _auto(wanted: StructuredOutputsParams) -> str | None:
    if wanted.regex is not None:
        return xgrammar_texts.regex_fault(wanted.regex)
    if wanted.grammar is not None:
        return xgrammar_texts.grammar_fault(wanted.grammar)
    if wanted.structural_tag is not None:
        return tag_fault(wanted.structural_tag)
    return _json_fault(wanted.json, lambda schema: None if _is_taken(schema) else guidance.schema_fault(wanted.json))


def _is_taken(schema: Any) -> bool:
    """By xgrammar, or by outlines, which gets what else has patterns of properties and takes what it cannot hold to."""
    return isinstance(schema, dict) and (
        xgrammar_schemas.takes(schema) or xgrammar_schemas.has_pattern_properties(schema)
    )


def _xgrammar(wanted: StructuredOutputsParams) -> str | None:
    """The kind of refusal is xgrammar's; its reasons, which name lines of its source, are llguidance's."""
    if wanted.regex is not None:
        return _prefixed("Failed to transform regex into a grammar", xgrammar_texts.regex_fault(wanted.regex))
    if wanted.grammar is not None:
        return "Invalid grammar specification." if xgrammar_texts.grammar_fault(wanted.grammar) else None
    if wanted.structural_tag is not None:
        return tag_fault(wanted.structural_tag)
    return _json_fault(wanted.json, _xgrammar_schema_fault)


def _xgrammar_schema_fault(schema: Any) -> str | None:
    if not isinstance(schema, dict):
        reason: str | None = "The schema should be a string or a Pydantic model."
    elif xgrammar_schemas.has_foreign_keywords(schema):
        return _FOREIGN
    else:
        reason = guidance.schema_fault(schema) if xgrammar_schemas.is_faulty(schema) else None
    return _prefixed("Failed to transform json schema into a grammar", reason)


def _guidance(wanted: StructuredOutputsParams) -> str | None:
    if wanted.regex is not None:
        return guidance.regex_fault(wanted.regex)
    if wanted.grammar is not None:
        return guidance.grammar_fault(wanted.grammar)
    if wanted.structural_tag is not None:
        fault = tag_fault(wanted.structural_tag)
        older = fault is not None or "structures" in json.loads(wanted.structural_tag)
        return fault if older else "Invalid grammar specification: 'triggers'"
    return guidance.schema_fault(wanted.json) if wanted.json is not None else None


def _outlines(wanted: StructuredOutputsParams) -> str | None:
    for kind in ("grammar", "json_object", "structural_tag"):
        if getattr(wanted, kind) is not None:
            return f"Outlines structured outputs backend does not support {kind} specifications"
    return _json_fault(wanted.json, lambda schema: None)


def _lm_format_enforcer(wanted: StructuredOutputsParams) -> str | None:
    for kind in ("grammar", "structural_tag"):
        if getattr(wanted, kind) is not None:
            return f"LM Format Enforcer structured outputs backend does not support {kind} specifications"
    return _json_fault(wanted.json, lambda schema: None)


def _json_fault(given: str | dict[str, Any] | None, schema_fault: Callable[[Any], str | None]) -> str | None:
    """What `schema_fault` says of a schema, which may be JSON text."""
    if given is None:
        return None
    try:
        schema = json.loads(given) if isinstance(given, str) else given
    except (ValueError, RecursionError):
        return _NOT_JSON
    return schema_fault(schema)


def _prefixed(words: str, reason: str | None) -> str | None:
    return None if reason is None else f"{words}: {reason}"


_BACKENDS: dict[str, Callable[[StructuredOutputsParams], str | None]] = {
    "auto": _auto,
    "xgrammar": _xgrammar,
    "guidance": _guidance,
    "outlines": _outlines,
    "lm-format-enforcer": _lm_format_enforcer,
}
