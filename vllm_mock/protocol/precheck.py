"""What vLLM looks at in the raw body before its fields are validated. All raise ApiError."""

from typing import Any

from vllm_mock.protocol.errors import ApiError

_SALT_MAX = 128  # characters
_SALT_FORBIDDEN = frozenset("@/\\\0")


def is_number(value: Any) -> bool:
    return isinstance(value, int | float)


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


def check_prompt_logprobs(data: dict[str, Any]) -> None:
    value = data.get("prompt_logprobs")
    if value is None:
        return
    check_logprobs_number("prompt_logprobs", value)
    if data.get("stream") and (value > 0 or value == -1):
        text = "`prompt_logprobs` are not available when `stream=True`."
        raise ApiError.bad_request(text, "prompt_logprobs")


def check_logprobs_number(name: str, value: Any) -> None:
    """A count of logprobs: -1 means all of the vocabulary."""
    if not is_number(value):
        raise ApiError.bad_request(f"`{name}` must be an integer.", name, value)
    if value < 0 and value != -1:
        raise ApiError.bad_request(f"`{name}` must be a positive value or -1.", name, value)
