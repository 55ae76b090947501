"""Errors as llm-d's simulator injects them: at a rate and of chosen types, or as the header X-Return-Error asks."""

import random

from vllm_mock.protocol.errors import ApiError, phrase
from vllm_mock.settings import Settings
from vllm_mock.settings.server import FAILURE_TYPES

HEADER = "HTTP_X_RETURN_ERROR"
# Where both act.
PATHS = frozenset(
    ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/inference/v1/generate")
)
_TYPES_BY_STATUS = {
    400: "BadRequestError",
    401: "authentication_error",
    404: "NotFoundError",
    429: "RateLimitError",
    500: "InternalServerError",
    503: "ServiceUnavailableError",
}


class Injected:
    """Draws errors at --failure-injection-rate percent, from --failure-types or all types."""

    def __init__(self, settings: Settings) -> None:
        self.rate = settings.failure_injection_rate
        self._types = settings.failure_types or list(FAILURE_TYPES)
        self._model = settings.served_model_name[0]
        self._aliases = settings.served_model_name
        self._max_model_len = settings.max_model_len
        self._random = random.Random(settings.seed)

    def drawn(self) -> ApiError | None:
        """An error for this request, or None when it is spared."""
        if self._random.randint(1, 100) > self.rate:
            return None
        return self._error(self._random.choice(self._types))

    def _error(self, kind: str) -> ApiError:
        if kind == "rate_limit":
            return ApiError(429, f"Too many requests for the model `{self._model}`.", _TYPES_BY_STATUS[429])
        if kind == "invalid_api_key":
            return ApiError.unauthorized()
        if kind == "context_length":
            from vllm_mock.protocol.prompts import too_many_tokens

            return too_many_tokens(self._max_model_len + 1, True, self._max_model_len)
        if kind == "invalid_request":
            return ApiError.bad_request("The request is not valid.")
        if kind == "model_not_found":
            return ApiError.model_not_found(f"{self._model}-nonexistent", self._aliases)
        return ApiError(503, "The server is overloaded.", _TYPES_BY_STATUS[503])


def returned(header: str) -> ApiError:
    """The error that a header X-Return-Error asks for, or the refusal of one that names no status."""
    text = header.strip()
    if not (text.isascii() and text.isdigit() and 400 <= int(text[:4]) <= 599):
        return ApiError.bad_request(f"X-Return-Error must be a status from 400 to 599, got {header[:80]!r}.")
    status = int(text)
    return ApiError(status, f"Injected error: {phrase(status)}.", error_type(status))


def error_type(status: int) -> str:
    """The type of an error object by its status, as vLLM names them."""
    return _TYPES_BY_STATUS.get(status) or phrase(status)
