"""The requests of /v1/embeddings, /pooling and /classify.

The order of the fields and of the union members is vLLM's: both show in the complaints about a bad body. pydantic
puts the fields of base classes from the last base to the first, hence the bases below read backwards.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, Field, model_validator

from vllm_mock.protocol.chat import check_generation_prompt
from vllm_mock.protocol.common import OPEN, CacheSalt, Int64, unchanged
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.messages import ChatMessage
from vllm_mock.protocol.parsing import RequestUnion
from vllm_mock.protocol.precheck import check_cache_salt

Task = Literal["embed", "classify", "token_embed", "token_classify", "plugin", "embed&token_classify"]
# Not bounded by 64 bits as in the generating routes: vLLM only compares it with the context.
TruncateTokens = Annotated[int, Field(ge=-1)]
Input = list[int] | list[list[int]] | str | list[str]
Conversations = Annotated[Sequence[Annotated[list[ChatMessage], Field(min_length=1)]], Field(min_length=1)]


class Part(BaseModel):
    """Some fields of a request."""

    model_config = OPEN


class AddSpecialTokens(Part):
    add_special_tokens: bool = True


class TemplateAddsSpecialTokens(Part):
    add_special_tokens: bool = False


class Padding(Part):
    padding: Literal["max_length", "do_not_pad"] | None = None


class Encoding(Part):
    encoding_format: Literal["float", "base64", "bytes", "bytes_only"] = "float"
    embed_dtype: Literal["float32", "float16", "bfloat16", "fp8_e4m3", "fp8_e5m2"] = "float32"
    endianness: Literal["native", "big", "little"] = "native"


class Dimensions(Part):
    dimensions: int | None = None


class Activation(Part):
    use_activation: bool | None = None


class Template(Part):
    add_generation_prompt: bool = False
    continue_final_message: bool = False
    chat_template: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    media_io_kwargs: dict[str, dict[str, Any]] | None = None


class TextInput(Part):
    input: Input


class Messages(Part):
    messages: list[ChatMessage]


class BatchMessages(Part):
    messages: Conversations


class Model(Part):
    model: str | None = None
    user: str | None = None
    truncate_prompt_tokens: TruncateTokens | None = None


class Scheduling(Part):
    """`request_id` is None unless the client set it (vLLM draws a random one here)."""

    truncation_side: Literal["left", "right"] | None = None
    request_id: str = None  # type: ignore[assignment]
    priority: Int64 = 0
    mm_processor_kwargs: dict[str, Any] | None = None
    cache_salt: CacheSalt | None = None


# ---- /v1/embeddings


class EmbeddingCompletionRequest(
    Scheduling, Model, TextInput, Activation, Dimensions, Encoding, Padding, AddSpecialTokens
):
    """Texts or token ids."""


class EmbeddingChatRequest(
    Scheduling, Model, Messages, Template, Activation, Dimensions, Encoding, Padding, TemplateAddsSpecialTokens
):
    """One conversation."""


class EmbeddingBatchChatRequest(
    BatchMessages, Scheduling, Model, Template, Activation, Dimensions, Encoding, Padding, TemplateAddsSpecialTokens
):
    """Several conversations."""


class EmbeddingChatInputRequest(EmbeddingChatRequest):
    """One conversation under the name `input`."""

    input: list[ChatMessage]

    @model_validator(mode="before")
    @classmethod
    def _messages_from_input(cls, data: Any) -> Any:
        return _with_messages(data, _is_conversation)


class EmbeddingBatchChatInputRequest(EmbeddingBatchChatRequest):
    """Several conversations under the name `input`."""

    input: Conversations

    @model_validator(mode="before")
    @classmethod
    def _messages_from_input(cls, data: Any) -> Any:
        return _with_messages(data, lambda value: isinstance(value, list) and all(map(_is_conversation, value)))


def _with_messages(data: Any, fits: Any) -> Any:
    if isinstance(data, dict) and "messages" not in data and data.get("input") and fits(data["input"]):
        return {**data, "messages": data["input"]}
    return data


def _is_conversation(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(message, dict) and isinstance(message.get("role"), str) for message in value)
    )


# ---- /pooling


class PoolingCompletionRequest(
    Scheduling, Padding, Model, TextInput, Dimensions, Encoding, Activation, AddSpecialTokens
):
    """Texts or token ids."""

    task: Task | None = None


class PoolingChatRequest(
    Scheduling, Padding, Model, Messages, Template, Dimensions, Encoding, Activation, TemplateAddsSpecialTokens
):
    """One conversation."""

    task: Task | None = None


class IOProcessorRequest(Scheduling, Padding, Model, Encoding):
    """Data for a plugin; there is none."""

    data: Any
    task: Task = "plugin"


# ---- /classify


class ClassificationCompletionRequest(Scheduling, Padding, Model, TextInput, Activation, AddSpecialTokens):
    """Texts or token ids."""


class ClassificationChatRequest(Scheduling, Padding, Model, Messages, Template, Activation, TemplateAddsSpecialTokens):
    """One conversation."""


def _precheck(data: dict[str, Any]) -> None:
    """vLLM's looks at the raw body, in its order. Raises ApiError."""
    if "normalize" in data:
        text = "Parameter `normalize` was removed; use `use_activation` instead."
        raise ApiError.bad_request(text, "normalize")
    check_cache_salt(data)
    check_generation_prompt(data)


EmbeddingRequest: TypeAlias = (
    EmbeddingCompletionRequest
    | EmbeddingChatRequest
    | EmbeddingBatchChatRequest
    | EmbeddingChatInputRequest
    | EmbeddingBatchChatInputRequest
)
PoolingRequest: TypeAlias = PoolingCompletionRequest | PoolingChatRequest | IOProcessorRequest
ClassificationRequest: TypeAlias = ClassificationCompletionRequest | ClassificationChatRequest
# What has a prompt: texts, token ids or conversations.
PromptRequest: TypeAlias = EmbeddingRequest | PoolingCompletionRequest | PoolingChatRequest | ClassificationRequest

EMBEDDING: RequestUnion[EmbeddingRequest] = RequestUnion(
    Annotated[EmbeddingCompletionRequest, unchanged]
    | Annotated[EmbeddingChatRequest, unchanged]
    | Annotated[EmbeddingBatchChatRequest, unchanged]
    | Annotated[EmbeddingChatInputRequest, unchanged]
    | Annotated[EmbeddingBatchChatInputRequest, unchanged],
    _precheck,
)
POOLING: RequestUnion[PoolingRequest] = RequestUnion(
    Annotated[PoolingCompletionRequest, unchanged]
    | Annotated[PoolingChatRequest, unchanged]
    | Annotated[IOProcessorRequest, unchanged],
    _precheck,
)
CLASSIFICATION: RequestUnion[ClassificationRequest] = RequestUnion(
    Annotated[ClassificationCompletionRequest, unchanged] | Annotated[ClassificationChatRequest, unchanged],
    _precheck,
)
