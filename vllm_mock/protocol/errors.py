"""The one error type of the HTTP surface, and vLLM's two ways of wording a refusal.

Family A: what FastAPI and pydantic refuse (JSON, media type, field types). Type "Bad Request", param is
the dotted place, the message lists at most ten errors as Python dictionaries.
Family B: what vLLM itself refuses. Type "BadRequestError", and when one parameter is to blame, the message
ends in ``(parameter=P, value=V)``.
Texts and shapes: vLLM 0.33.0, read from its answers.
"""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from vllm_mock.protocol.json_text import compact, to_bytes

MAX_LISTED_ERRORS = 10
MAX_INPUT_CHARS = 200

# vLLM hides paths of the server's machine and addresses of objects in every message.
_PATH = re.compile(
    r"/(?:usr|tmp|home|opt|root|var|mnt|srv|lib)(?:/[\w.\-]+)+"  # below a well-known root
    r"|(?:/[\w\-]+)+/[\w\-]+\.\w+"  # or anything that ends like a file name
)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+>")

# Parts of a pydantic location that name a branch of a union, not a place in the body.
_BRANCH_NAMES = frozenset(
    (
        *("str", "int", "float", "bool", "complex", "bytes", "bytearray", "none", "nonetype", "nullable"),
        *("list", "dict", "set", "frozenset", "tuple", "union", "tagged-union", "default", "call", "chain"),
        *("arguments", "is-instance", "is-subclass", "lax-or-strict", "json-or-python"),
        *("function-wrap", "function-before", "function-after", "function-plain"),
    )
)
_BRANCH_MARK = re.compile(r"[\[\](){}]")

_QUEUE_FULL = {
    "max_num_queued_reqs": "The engine is currently busy and cannot accept new requests.",
    "max_num_queued_tokens": "The engine has reached its prefill token backlog limit.",
}

_FURTHER_PHRASES = {499: "Client Closed Request", 520: "Unknown Error", 529: "Overloaded"}

# What uvicorn answers to bytes that are no HTTP.
NO_HTTP = b"Invalid HTTP request received."

_NO_VALUE = object()


class InvalidHttp(Exception):
    """The body of a request is framed in a way that no parser takes; answered as a broken head is, with NO_HTTP."""


class ApiError(Exception):
    """A refusal with its HTTP status; `body()` is the answer's bytes.

    `detail=True` gives FastAPI's plain ``{"detail": message}`` instead of vLLM's error object.
    """

    def __init__(
        self,
        status: int,
        message: str,
        type: str | None = None,
        param: str | None = None,
        *,
        code: int | str | None = None,
        detail: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = int(status)
        self.message = sanitize(message)
        self.type = type if type is not None else phrase(status)
        self.param = param
        self.code = code if code is not None else self.status
        self.detail = detail

    def payload(self) -> dict[str, Any]:
        """The answer as a dictionary, keys in vLLM's order."""
        if self.detail:
            return {"detail": self.message}
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": error}

    def body(self) -> bytes:
        """The answer as compact JSON."""
        return to_bytes(compact(self.payload()))

    @classmethod
    def bad_request(cls, message: str, param: str | None = None, value: Any = _NO_VALUE) -> "ApiError":
        """400 of family B; the parameter, and its value if given, are told at the end of the message."""
        if param is not None:
            told = f"parameter={param}" if value is _NO_VALUE else f"parameter={param}, value={value}"
            message = f"{message} ({told})"
        return cls(HTTPStatus.BAD_REQUEST, message, "BadRequestError", param)

    @classmethod
    def loading(cls) -> "ApiError":
        """503 before the model is loaded (--startup-duration); vLLM's port would still be closed."""
        return cls(HTTPStatus.SERVICE_UNAVAILABLE, "The model is still being loaded.", "ServiceUnavailableError")

    @classmethod
    def engine_dead(cls) -> "ApiError":
        """500 of a server whose engine has died."""
        return cls.internal("The server had an error while processing your request.")

    @classmethod
    def paused(cls) -> "ApiError":
        """503 of a paused or sleeping engine."""
        text = "Generation is paused. Please retry after it resumes."
        return cls(HTTPStatus.SERVICE_UNAVAILABLE, text, "ServiceUnavailableError")

    @classmethod
    def not_found(cls, message: str, param: str | None = None) -> "ApiError":
        """404 NotFoundError."""
        return cls(HTTPStatus.NOT_FOUND, message, "NotFoundError", param)

    @classmethod
    def model_not_found(cls, model: str, aliases: Iterable[str]) -> "ApiError":
        """404 for a model that is not served."""
        valid = ", ".join(aliases)
        return cls.not_found(f"The model `{model}` does not exist. Valid aliases: {valid}.", "model")

    @classmethod
    def internal(cls, message: str = "Internal server error") -> "ApiError":
        """500 InternalServerError."""
        return cls(HTTPStatus.INTERNAL_SERVER_ERROR, message, "InternalServerError")

    @classmethod
    def not_implemented(cls, message: str) -> "ApiError":
        """501 NotImplementedError."""
        return cls(HTTPStatus.NOT_IMPLEMENTED, message, "NotImplementedError")

    @classmethod
    def permission_denied(cls, message: str) -> "ApiError":
        """403 PermissionDeniedError."""
        return cls(HTTPStatus.FORBIDDEN, message, "PermissionDeniedError")

    @classmethod
    def queue_full(cls, reason: str) -> "ApiError":
        """503 of a full queue; `reason` is max_num_queued_reqs or max_num_queued_tokens."""
        advice = "Please try again later or on a different instance."
        return cls(HTTPStatus.SERVICE_UNAVAILABLE, f"{_QUEUE_FULL[reason]} {advice}")

    @classmethod
    def shutting_down(cls) -> "ApiError":
        """503 for a request that comes after SIGTERM."""
        return cls(HTTPStatus.SERVICE_UNAVAILABLE, "The server is shutting down.")

    @classmethod
    def unauthorized(cls, message: str = "Invalid API key") -> "ApiError":
        """401 with the body that AIBrix's clients expect (vLLM has a plain string there)."""
        return cls(HTTPStatus.UNAUTHORIZED, message, "authentication_error", code="invalid_api_key")


def phrase(status: int) -> str:
    """What a status is called, with the ones that gateways have beside the standard's."""
    if status in _FURTHER_PHRASES:
        return _FURTHER_PHRASES[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown Status"


def sanitize(message: str) -> str:
    """Replaces file paths by ``<path>`` and drops object addresses."""
    if "/" in message:
        message = _PATH.sub("<path>", message)
    if " at 0x" in message:
        message = _ADDRESS.sub(">", message)
    return message


# --- family A: what FastAPI and pydantic refuse


def plain_validation_error(text: str) -> ApiError:
    """400 for a single complaint that has no place in the body."""
    return ApiError(HTTPStatus.BAD_REQUEST, f"1 validation error:\n  {text}")


def unparsable_body() -> ApiError:
    """400 for a body whose bytes cannot be read (bad UTF-8, too deep, a number that is too long)."""
    return ApiError(HTTPStatus.BAD_REQUEST, "There was an error parsing the body", detail=True)


def validation_error(errors: list[Any], more: int = 0) -> ApiError:
    """400 from pydantic's error dictionaries (keys type, loc, msg, input and perhaps ctx), and so many more."""
    places = [_place(error["loc"]) for error in errors[:MAX_LISTED_ERRORS]]
    lines = [_line(error, place) for error, place in zip(errors, places, strict=False)]
    count = len(errors) + more
    if count > MAX_LISTED_ERRORS:
        lines.append(f"  ...and {count - MAX_LISTED_ERRORS} more errors")
    head = f"{count} validation error{'s' if count > 1 else ''}:"
    return ApiError(HTTPStatus.BAD_REQUEST, "\n".join([head, *lines]), param=places[0])


def _place(loc: Iterable[str | int]) -> str:
    """The dotted place of an error: the location without the names of union branches."""
    return ".".join(str(part) for part in loc if not (isinstance(part, str) and _is_branch(part)))


def _is_branch(part: str) -> bool:
    return part.lower() in _BRANCH_NAMES or _BRANCH_MARK.search(part) is not None


def _line(error: Mapping[str, Any], place: str) -> str:
    told = {"type": error["type"], "loc": place, "msg": error["msg"], "input": _summary(error["input"])}
    if "ctx" in error:
        told["ctx"] = error["ctx"]
    return f"  {told!r}"


def _summary(value: Any) -> str:
    """The refused value in a few characters: containers by size, everything else cut."""
    if isinstance(value, dict | list):
        return f"<{type(value).__name__} of {len(value)} items>"
    text = str(value)
    return text if len(text) <= MAX_INPUT_CHARS else text[:MAX_INPUT_CHARS] + "...[truncated]"
