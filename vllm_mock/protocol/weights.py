"""The requests by which a trainer transfers weights; FastAPI calls such bodies embedded."""

from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from vllm_mock.protocol import errors
from vllm_mock.protocol.body import decode_json


class InitRequest(BaseModel):
    """POST /init_weight_transfer_engine."""

    init_info: dict[str, Any]


class UpdateRequest(BaseModel):
    """POST /update_weights."""

    update_info: dict[str, Any] | list[dict[str, Any]]


class FinishRequest(BaseModel):
    """POST /finish_weight_update."""

    weight_version: str | None = None


class VersionRequest(BaseModel):
    """POST /update_weight_version."""

    new_version: str


class CheckRequest(BaseModel):
    """POST /weight_checker."""

    action: Literal["checksum", "reset", "compare"]
    baseline: dict[str, str] | None = None


M = TypeVar("M", bound=BaseModel)


def parse_embedded(raw: bytes, content_type: str | None, model: type[M]) -> M:
    """The validated fields. A body of another media type is none; a null is a field that is not there.

    Raises ApiError.
    """
    data = decode_json(raw, content_type)
    if data is not None and not isinstance(data, dict):
        raise errors.validation_error([_missing(name) for name in model.model_fields])
    try:
        return model.model_validate({name: value for name, value in (data or {}).items() if value is not None})
    except ValidationError as refused:
        found = refused.errors(include_url=False)
        raise errors.validation_error(
            [
                _missing(str(error["loc"][0]))
                if error["type"] == "missing"
                else {**error, "loc": ("body", *error["loc"])}
                for error in found
            ]
        ) from None


def _missing(name: str) -> dict[str, Any]:
    return {"type": "missing", "loc": ("body", name), "msg": "Field required", "input": None}
