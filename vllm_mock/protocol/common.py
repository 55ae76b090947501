"""Field types and nested models that several request models share."""

import os
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from vllm_mock.protocol.errors import ApiError

INT64_MAX = 2**63 - 1
INT64_MIN = -(2**63)


def bound(variable: str, default: int) -> int:
    """A bound that vLLM, too, takes from the environment alone and once; the settings have checked its value."""
    return int(os.environ.get(variable) or default)


# Unknown keys are kept: they count when pydantic chooses between the members of a union.
OPEN = ConfigDict(extra="allow", defer_build=True)
REQUEST = OPEN

Int64 = Annotated[int, Field(ge=INT64_MIN, le=INT64_MAX)]
StopStrings = Annotated[list[str], Field(max_length=bound("VLLM_MAX_STOP_STRINGS", 4))]
TruncateTokens = Annotated[int, Field(ge=-1, le=INT64_MAX)]
StreamInterval = Annotated[int, Field(ge=1)]
CacheSalt = Annotated[str, Field(min_length=1, max_length=1024)]
XArg = str | int | float
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


def _same(value: Any) -> Any:
    return value


# vLLM's own models carry a validator, so that their name does not show in the location of an error
# inside a union (`body.response_format.type`); a validator that changes nothing does the same here.
unchanged = AfterValidator(_same)


def _thinking_budget(value: Any) -> Any:
    """-1 means no limit. Refused at once, whatever else is wrong with the request."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < -1:
        text = "`thinking_token_budget` must be a non-negative integer or -1 for unlimited."
        raise ApiError.bad_request(text, "thinking_token_budget", value)
    return value


ThinkingBudget = Annotated[int | None, BeforeValidator(_thinking_budget)]


class JsonSchemaResponseFormat(BaseModel):
    model_config = OPEN

    name: str
    description: str | None = None
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class ResponseFormat(BaseModel):
    model_config = OPEN

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaResponseFormat | None = None


class StructuralTagResponseFormat(BaseModel):
    model_config = OPEN

    type: Literal["structural_tag"]
    format: Any


class LegacyStructuralTag(BaseModel):
    model_config = OPEN

    begin: str
    structural_tag_schema: dict[str, Any] | None = Field(default=None, alias="schema")
    end: str


class LegacyStructuralTagResponseFormat(BaseModel):
    model_config = OPEN

    type: Literal["structural_tag"]
    structures: list[LegacyStructuralTag]
    triggers: list[str]


AnyResponseFormat = (
    Annotated[ResponseFormat, unchanged]
    | Annotated[StructuralTagResponseFormat, unchanged]
    | Annotated[LegacyStructuralTagResponseFormat, unchanged]
    | None
)


class StreamOptions(BaseModel):
    model_config = OPEN

    include_usage: bool | None = False
    continuous_usage_stats: bool | None = False


class FunctionDefinition(BaseModel):
    model_config = OPEN

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    defer_loading: bool | None = None


class ChatCompletionToolsParam(BaseModel):
    model_config = OPEN

    type: Literal["function"] = "function"
    function: FunctionDefinition
    defer_loading: bool | None = None


class ChatCompletionNamedFunction(BaseModel):
    model_config = OPEN

    name: str


class ChatCompletionNamedToolChoiceParam(BaseModel):
    model_config = OPEN

    function: ChatCompletionNamedFunction
    type: Literal["function"] = "function"


NamedToolChoice = Annotated[ChatCompletionNamedToolChoiceParam, unchanged]


@dataclass
class RepetitionDetectionParams:
    """Ends a request early when its output repeats (sizes in tokens). Raises ApiError, at once."""

    max_pattern_size: int = 0
    min_pattern_size: int = 0
    min_count: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.min_pattern_size <= self.max_pattern_size:
            raise ApiError.bad_request(
                "max_pattern_size, min_pattern_size must be >=0, with min_pattern_size <= max_pattern_size. "
                "Set both to 0 to disable repetitive pattern detection."
            )
        if self.max_pattern_size > 0 and self.min_count < 2:
            raise ApiError.bad_request(
                "min_count must be >= 2 to detect repetitive patterns in engine output. If you do not wish to "
                "detect repetitive patterns, set max_pattern_size to 0."
            )
