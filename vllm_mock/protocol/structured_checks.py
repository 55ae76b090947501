"""Structured outputs that no grammar can be made of, refused in vLLM's words."""

from typing import Any

from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.structured import StructuredOutputsParams, check_nesting
from vllm_mock.protocol.structured_backends import fault


def check_structured_outputs(wanted: StructuredOutputsParams | None, backend: str) -> None:
    """Raises ApiError for a constraint that no output can be held to by this backend."""
    if wanted is None:
        return
    if wanted.choice is not None and not wanted.choice:
        raise ApiError.bad_request("Choice '[]' cannot be an empty list")
    _check_not_blank("grammar", wanted.grammar)
    _check_not_blank("json", wanted.json)
    _check_not_blank("structural_tag", wanted.structural_tag)
    check_nesting(wanted.json)
    if wanted.json_object is False:
        raise ApiError.bad_request(
            "structured_outputs.json_object must be True if set; omit structured_outputs to disable structured outputs"
        )
    if wanted.regex is not None and "\0" in wanted.regex:
        raise ApiError.bad_request("structured_outputs.regex must not contain a NUL character ('\\x00')")
    refusal = fault(wanted, backend)
    if refusal is not None:
        raise ApiError.bad_request(refusal)


def _check_not_blank(name: str, value: Any) -> None:
    if isinstance(value, str) and not value.strip():
        raise ApiError.bad_request(f"structured_outputs.{name} cannot be an empty string")
