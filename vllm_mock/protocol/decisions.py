"""The requests of /v1/systemone and /v1/decisions, which no ordinary language model answers."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

from vllm_mock.protocol.common import OPEN, CacheSalt, Int64
from vllm_mock.protocol.precheck import check_cache_salt

CLOSED = ConfigDict(extra="forbid", defer_build=True)

Short = Annotated[StrictStr, Field(max_length=1024**2)]
Long = Annotated[StrictStr, Field(max_length=10 * 1024**2)]


class QuestionSpec(BaseModel):
    """A question of /v1/systemone."""

    model_config = OPEN

    type: str
    instructions: Any = ""
    criteria: Any = None


class StructuredDecisionRequest(BaseModel):
    """The body of /v1/systemone."""

    model_config = CLOSED

    model: str | None = None
    state: Any
    questions: dict[str, QuestionSpec]
    instructions: str | None = None
    images: list[str] | None = None
    audio: list[str] | None = None
    videos: list[str] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    joint: StrictBool = False
    cache_salt: str | None = None
    priority: Int64 = 0
    request_id: str | None = None

    precheck = staticmethod(check_cache_salt)


class DecisionInputText(BaseModel):
    model_config = CLOSED

    type: Literal["input_text"]
    text: Long


class DecisionInputMessage(BaseModel):
    model_config = CLOSED

    role: Literal["user"]
    content: Long | Annotated[list[DecisionInputText], Field(max_length=16384)]
    type: Literal["message"] = "message"


class QuestionBase(BaseModel):
    model_config = CLOSED

    instructions: Short
    name: Short | None = None


class PredicateQuestion(QuestionBase):
    type: Literal["predicate"]


class ChoiceOption(BaseModel):
    model_config = CLOSED

    value: StrictStr | StrictBool
    description: Short = ""


class ChoiceQuestion(QuestionBase):
    type: Literal["choice"]
    choices: Annotated[list[ChoiceOption], Field(min_length=2, max_length=255)]


class ScoreLevel(BaseModel):
    model_config = CLOSED

    label: Short
    description: Short = ""


class ScoreQuestion(QuestionBase):
    type: Literal["score"]
    levels: Annotated[list[ScoreLevel], Field(min_length=2, max_length=10)]


Question = Annotated[PredicateQuestion | ChoiceQuestion | ScoreQuestion, Field(discriminator="type")]


class DecisionRequest(BaseModel):
    """The body of /v1/decisions."""

    model_config = CLOSED

    model: Short
    input: Long | Annotated[list[DecisionInputMessage], Field(max_length=131072)]
    questions: Annotated[list[Question], Field(min_length=1, max_length=200)]
    safety_identifier: Annotated[StrictStr, Field(max_length=128)] | None = None
    joint: StrictBool = False
    cache_salt: CacheSalt | None = None

    precheck = staticmethod(check_cache_salt)
