"""Structured outputs: which constraint a request asks for, and which of them vLLM refuses."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.structural_tag import is_structural_tag

if TYPE_CHECKING:
    from vllm_mock.protocol.sampling import Request

# Levels of objects and arrays in a schema, and in what a structural tag puts around it.
_DEEPEST = 64
_DEEPEST_WRAPPER = 16
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
        if given:
            text = "You can only use one kind of structured outputs constraint but multiple are specified: "
        else:
            text = "You must use one kind of structured outputs constraint but none are specified: "
        raise ApiError.bad_request(f"{text}{self.told()}")

    def told(self) -> dict[str, Any]:
        """All fields of vLLM's class."""
        return asdict(self) | {"_backend": None, "_backend_was_auto": False}


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
    check_tag(outputs)


def check_tag(outputs: Any) -> None:
    """A structural tag must be one, whatever else there is. Raises ApiError."""
    tag = outputs.get("structural_tag") if isinstance(outputs, dict) else None
    if isinstance(tag, str):
        check_nesting(tag, tag=True)
    if tag is not None and not is_structural_tag(_decoded(tag)):
        text = "Invalid structured_outputs structural_tag specification."
        raise ApiError.bad_request(text, "structured_outputs")


def check_nesting(value: Any, tag: bool = False) -> None:
    """A schema, or a structural `tag` around schemas, may not be nested too deeply. Raises ApiError."""
    if _is_deeper(value, _DEEPEST + (_DEEPEST_WRAPPER if tag else 0)):
        text = f"The JSON schema is nested too deeply: objects and arrays may nest at most {_DEEPEST} levels"
        raise ApiError.bad_request(text)


def _is_deeper(value: Any, levels: int) -> bool:
    try:
        level: list[Any] = [json.loads(value) if isinstance(value, str) else value]
    except ValueError:
        return False
    except RecursionError:
        return True
    for _ in range(levels):
        level = [part for node in level for part in _parts(node) if isinstance(part, dict | list)]
        if not level:
            return False
    return True


def _parts(node: Any) -> Iterable[Any]:
    return node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()


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
