"""The query parameters of the routes that control the engine."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from werkzeug.datastructures import MultiDict

from vllm_mock.protocol import errors

Mode = Literal["abort", "wait", "keep"]


class SleepQuery(BaseModel):
    """POST /sleep."""

    level: Annotated[int, Field(ge=0, le=2)] = 1
    mode: Mode = "abort"


class PauseQuery(BaseModel):
    """POST /pause."""

    mode: Mode = "abort"
    clear_cache: bool = True


class ResetQuery(BaseModel):
    """POST /reset_prefix_cache."""

    reset_running_requests: bool = False
    reset_external: bool = False


class WorldSizeQuery(BaseModel):
    """GET /get_world_size."""

    include_dp: bool = True


class ServerInfoQuery(BaseModel):
    """GET /server_info."""

    config_format: Literal["text", "json"] = "text"


class StartProfileRequest(BaseModel):
    """POST /start_profile; the body may be missing."""

    model_config = ConfigDict(strict=True)

    profile_prefix: str | None = None
    delay_iterations: int | None = None
    max_iterations: int | None = None
    profiler_kwargs: dict[str, Any] | None = None


Q = TypeVar("Q", bound=BaseModel)


def parse_query(query: "MultiDict[str, str]", model: type[Q]) -> Q:
    """The parameters as the model has them; of several values the last counts. Raises ApiError."""
    values = {name: texts[-1] for name, texts in query.lists()}
    try:
        return model.model_validate(values)
    except ValidationError as refused:
        found = refused.errors(include_url=False)
        raise errors.validation_error([{**error, "loc": ("query", *error["loc"])} for error in found]) from None
