"""The requests of /tokenize and /detokenize."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from vllm_mock.protocol.chat import check_generation_prompt
from vllm_mock.protocol.common import INT64_MAX, OPEN, REQUEST, ChatCompletionToolsParam, unchanged
from vllm_mock.protocol.messages import ChatMessage
from vllm_mock.protocol.parsing import RequestUnion


class TokenizeCompletionRequest(BaseModel):
    """/tokenize with a prompt."""

    model_config = OPEN

    model: str | None = None
    prompt: str
    add_special_tokens: bool = True
    return_token_strs: bool | None = False


class TokenizeChatRequest(BaseModel):
    """/tokenize with messages, rendered as for a chat completion."""

    model_config = OPEN

    model: str | None = None
    messages: list[ChatMessage]
    add_generation_prompt: bool = True
    return_token_strs: bool | None = False
    continue_final_message: bool = False
    add_special_tokens: bool = False
    chat_template: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    media_io_kwargs: dict[str, dict[str, Any]] | None = None
    mm_processor_kwargs: dict[str, Any] | None = None
    tools: list[ChatCompletionToolsParam] | None = None


# Either of the two; with both prompt and messages pydantic takes the one that fits better.
TokenizeRequest: RequestUnion[TokenizeCompletionRequest | TokenizeChatRequest] = RequestUnion(
    Annotated[TokenizeCompletionRequest, unchanged] | Annotated[TokenizeChatRequest, unchanged],
    check_generation_prompt,
)


class DetokenizeRequest(BaseModel):
    """/detokenize."""

    model_config = REQUEST

    model: str | None = None
    tokens: list[Annotated[int, Field(ge=0, le=INT64_MAX)]]
