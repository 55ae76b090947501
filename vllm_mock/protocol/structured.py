"""Structured outputs: which constraint a request asks for, and which of them vLLM refuses."""

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.structural_tag import is_structural_tag

if TYPE_CHECKING:
    from vllm_mock.protocol.sampling import Request

_CONSTRAINTS = ("json", "regex", "choice", "grammar", "json_object", "structural_tag")


@dataclass
class StructuredOutputsParams:
    """vLLM's `structured_outputs`. Exactly one constraint must be given; else ApiError, at once."""

    json: str | dict | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None
    disable_any_whitespace: bool = False
    disable_additional_properties: bool = False
    whitespace_pattern: str | None = None
    structural_tag: str | None = None

    def __post_init__(self) -> None:
        given = sum(getattr(self, name) is not None for name in _CONSTRAINTS)
        if given == 1:
            return
        told = asdict(self) | {"_backend": None, "_backend_was_auto": False}
        if given:
            text = "You can only use one kind of structured outputs constraint but multiple are specified: "
        else:
            text = "You must use one kind of structured outputs constraint but none are specified: "
        raise ApiError.bad_request(f"{text}{told}")


def check_structured_outputs_count(data: dict[str, Any], param: str | None = None, tool_choice: Any = "none") -> None:
    """Before the types are looked at: json, regex and choice exclude each other and a named tool, and a
    structural tag must be one. Raises ApiError.

    `param` is the parameter that the error names.
    """
    outputs = data.get("structured_outputs")
    if not isinstance(outputs, dict):
        return
    count = sum(outputs.get(kind) is not None for kind in ("json", "regex", "choice"))
    if count > 1:
        kinds = "('json', 'regex' or 'choice')"
        text = f"You can only use one kind of constraints for structured outputs {kinds}."
        raise ApiError.bad_request(text, param)
    if count and tool_choice not in ("none", "auto", "required"):
        text = "You can only either use constraints for structured outputs or tools, not both."
        raise ApiError.bad_request(text)
    tag = outputs.get("structural_tag")
    if tag is not None and not is_structural_tag(_decoded(tag)):
        text = "Invalid structured_outputs structural_tag specification."
        raise ApiError.bad_request(text, "structured_outputs")


def _decoded(tag: Any) -> Any:
    try:
        return json.loads(tag) if isinstance(tag, str) else None
    except (ValueError, RecursionError):
        return None


def constraint(request: "Request") -> StructuredOutputsParams | None:
    """What the output must be like: `structured_outputs`, and `response_format` on top. Raises ApiError."""
    given = request.structured_outputs
    response_format = request.response_format
    if response_format is None or response_format.type == "text":
        return given
    if response_format.type == "json_object":
        added: dict[str, Any] = {"json_object": True}
    elif response_format.type == "json_schema":
        schema = response_format.json_schema
        added = {"json": schema.json_schema if schema is not None else None}
    else:
        added = {"structural_tag": json.dumps(response_format.model_dump(by_alias=True))}
    return StructuredOutputsParams(**added) if given is None else replace(given, **added)
