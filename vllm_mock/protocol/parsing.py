"""One way from a body's bytes to a validated request."""

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from vllm_mock.protocol import errors
from vllm_mock.protocol.body import parse_json
from vllm_mock.protocol.long_errors import described

T = TypeVar("T")
R = TypeVar("R", covariant=True)

_MISSING = {"type": "missing", "loc": ("body",), "msg": "Field required", "input": None}


class RequestModel(Protocol[R]):
    """A pydantic model.

    Its `precheck`, if it has one, looks at the raw body first and may fill in fields; a `postcheck` of the
    instance may raise one more ValidationError.
    """

    def model_validate(self, obj: Any, *, from_attributes: bool) -> R: ...


class RequestUnion(Generic[T]):
    """Several models for one route, used like a single one."""

    def __init__(self, union: Any, precheck: Callable[[dict[str, Any]], None] | None = None) -> None:
        self.precheck = precheck
        self.adapter: TypeAdapter[T] = TypeAdapter(union, config=ConfigDict(defer_build=True))

    def model_validate(self, obj: Any, *, from_attributes: bool) -> T:
        return self.adapter.validate_python(obj, from_attributes=from_attributes)

    def model_rebuild(self) -> None:
        self.adapter.rebuild()


def parse_request(raw: bytes, content_type: str | None, model: RequestModel[T]) -> T:
    """The validated request; raises ApiError with vLLM's status and body.

    `raw` is the whole HTTP body, `content_type` its header (None: not sent).
    """
    return validate(parse_json(raw, content_type), model)


def validate(data: Any, model: RequestModel[T]) -> T:
    """A request from a decoded body. Raises ApiError."""
    if data is None:
        raise errors.validation_error([_MISSING])
    precheck = getattr(model, "precheck", None)
    if precheck is not None and isinstance(data, dict):
        precheck(data)
    try:
        request = model.model_validate(data, from_attributes=True)
        postcheck = getattr(request, "postcheck", None)
        if postcheck is not None:
            postcheck()
        return request
    except ValidationError as e:
        raise _refusal(e) from None
    except RecursionError:
        raise errors.unparsable_body() from None


def _refusal(e: ValidationError) -> errors.ApiError:
    found, more = described(e)
    return errors.validation_error([{**error, "loc": ("body", *error["loc"])} for error in found], more)
