"""Structured outputs: which constraint a request asks for, and which of them vLLM refuses."""

from dataclasses import asdict, dataclass
from typing import Any

from vllm_mock.protocol.errors import ApiError

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


def check_count(data: dict[str, Any]) -> None:
    """Before the types are looked at: json, regex and choice exclude each other. Raises ApiError."""
    outputs = data.get("structured_outputs")
    if not isinstance(outputs, dict):
        return
    if sum(outputs.get(kind) is not None for kind in ("json", "regex", "choice")) > 1:
        kinds = "('json', 'regex' or 'choice')"
        raise ApiError.bad_request(
            f"You can only use one kind of constraints for structured outputs {kinds}."
        )
