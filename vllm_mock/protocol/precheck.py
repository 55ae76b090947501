"""What vLLM looks at in the raw body before its fields are validated. All raise ApiError."""

from typing import Any

from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.structural_tag import is_structural_tag
from vllm_mock.protocol.structured import check_nesting

_SALT_MAX = 128  # characters
_SALT_FORBIDDEN = frozenset("@/\\\0")


def check_stream_options(data: dict[str, Any]) -> None:
    if data.get("stream_options") and not data.get("stream"):
        text = "Stream options can only be defined when `stream=True`."
        raise ApiError.bad_request(text, "stream_options")


def check_cache_salt(data: dict[str, Any]) -> None:
    salt = data.get("cache_salt")
    if salt is None:
        return
    if not isinstance(salt, str) or not salt:
        text = "Parameter 'cache_salt' must be a non-empty string if provided."
        raise ApiError.bad_request(text, "cache_salt")
    if len(salt) > _SALT_MAX or not _SALT_FORBIDDEN.isdisjoint(salt):
        text = (
            f"Parameter 'cache_salt' must be at most {_SALT_MAX} characters "
            "and must not contain '@', '/', '\\\\', or NUL."
        )
        raise ApiError.bad_request(text, "cache_salt")


def check_response_format(data: dict[str, Any]) -> None:
    response_format = data.get("response_format")
    if not isinstance(response_format, dict):
        return
    kind = response_format.get("type")
    if kind == "json_schema" and response_format.get("json_schema") is None:
        text = "When response_format type is 'json_schema', the 'json_schema' field must be provided."
        raise ApiError.bad_request(text, "response_format")
    if kind == "structural_tag":
        check_nesting(response_format, tag=True)
    if kind == "structural_tag" and not is_structural_tag(response_format):
        text = "Invalid response_format structural_tag specification."
        raise ApiError.bad_request(text, "response_format")


def check_logprob_token_ids(data: dict[str, Any]) -> None:
    if data.get("logprob_token_ids") and data.get("use_beam_search"):
        text = "`logprob_token_ids` is not supported with beam search."
        raise ApiError.bad_request(text, "logprob_token_ids")


def check_logprobs_wanted(data: dict[str, Any]) -> None:
    """Who names tokens must ask for log probabilities."""
    if data.get("logprob_token_ids") and not data.get("logprobs"):
        text = "when using `logprob_token_ids`, `logprobs` must be set to true."
        raise ApiError.bad_request(text, "logprob_token_ids")


def check_logprobs_types(data: dict[str, Any], name: str) -> None:
    """`prompt_logprobs` and the field `name` are numbers."""
    for field in ("prompt_logprobs", name):
        value = data.get(field)
        if value is not None and not isinstance(value, int | float):
            raise ApiError.bad_request(f"`{field}` must be an integer.", field, value)


def check_prompt_logprobs(data: dict[str, Any]) -> None:
    value = data.get("prompt_logprobs")
    if value is None:
        return
    if data.get("stream") and (value > 0 or value == -1):
        text = "`prompt_logprobs` are not available when `stream=True`."
        raise ApiError.bad_request(text, "prompt_logprobs")
    check_logprobs_range("prompt_logprobs", value)


def check_logprobs_range(name: str, value: float | None) -> None:
    """A count of logprobs: -1 means all of the vocabulary."""
    if value is not None and value < 0 and value != -1:
        raise ApiError.bad_request(f"`{name}` must be a positive value or -1.", name, value)


def apply_return_mm_kwargs(data: dict[str, Any]) -> None:
    """The old name of ``mm_payload: "none"`` still counts."""
    if data.get("return_mm_kwargs") is False and "mm_payload" not in data:
        data["mm_payload"] = "none"
