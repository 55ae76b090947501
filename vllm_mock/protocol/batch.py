"""The request of /v1/chat/completions/batch: several conversations with the same parameters."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from vllm_mock.protocol import precheck
from vllm_mock.protocol.chat import ChatCompletionRequest, check_generation_prompt
from vllm_mock.protocol.common import REQUEST, Int64, StopStrings
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.messages import ChatMessage
from vllm_mock.protocol.structured import StructuredOutputsParams, check_tag

# What is checked and then has no effect: a batch is answered in one piece, without the prompts.
_WITHOUT_EFFECT = {
    "stream": False,
    "stream_options": None,
    "echo": False,
    "prompt_logprobs": None,
    "logprob_token_ids": None,
}
# How pydantic calls the members of a union in a message: ours and vLLM's.
_UNION_MEMBER = re.compile(r"function-after\[_same\(\), \w+\]")
_VLLM_MEMBER = "function-wrap[__log_extra_fields__()]"


class BatchChatCompletionRequest(BaseModel):
    """Fields, their order, types and defaults as vLLM 0.33.0 has them."""

    model_config = REQUEST

    messages: Annotated[list[Annotated[list[ChatMessage], Field(min_length=1)]], Field(min_length=1)]
    model: str | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = False
    top_logprobs: int | None = 0
    logprob_token_ids: list[int] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = 1
    presence_penalty: float | None = None
    response_format: Any | None = None
    seed: Int64 | None = None
    stop: str | StopStrings | None = None
    temperature: float | None = None
    top_p: float | None = None
    user: str | None = None
    tool_choice: Literal["none"] | None = "none"
    include_reasoning: bool = True
    best_of: int | None = None
    use_beam_search: bool = False
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    watermarking: bool | None = None
    length_penalty: float | None = 1.0
    early_stopping: bool = False
    structured_outputs: StructuredOutputsParams | None = None
    request_id: str | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    chat_template: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    media_io_kwargs: dict[str, dict[str, Any]] | None = None
    mm_processor_kwargs: dict[str, Any] | None = None
    priority: Int64 = 0
    cache_salt: str | None = None
    include_stop_str_in_output: bool = False
    guided_decoding_backend: str | None = None
    echo: bool = False
    return_tokens_as_token_ids: bool | None = None
    return_token_ids: bool = False

    @staticmethod
    def precheck(data: dict[str, Any]) -> None:
        """What a batch cannot be asked for. Raises ApiError."""
        if data.get("use_beam_search"):
            text = "Batch chat completions do not support beam search. Please set `use_beam_search` to False."
            raise ApiError.bad_request(text, "use_beam_search")
        check_tag(data.get("structured_outputs"))
        precheck.check_logprobs_wanted(data)
        n = data.get("n")
        if n is not None and n != 1:
            text = "Batch chat completions do not support `n > 1`. Please set `n` to 1."
            raise ApiError.bad_request(text, "n", n)

    def chats(self) -> list[ChatCompletionRequest]:
        """A chat request per conversation. Raises ApiError."""
        check_generation_prompt(vars(self))
        given = {name: value for name, value in self.model_dump(exclude_unset=True).items() if value is not None}
        shared = {name: value for name, value in given.items() if name != "messages"}
        shared["tool_choice"] = self.tool_choice
        if self.structured_outputs is not None:
            shared["structured_outputs"] = self.structured_outputs
        return [_chat({**shared, "messages": conversation}) for conversation in self.messages]


def _chat(data: dict[str, Any]) -> ChatCompletionRequest:
    try:
        ChatCompletionRequest.precheck(data)
        chat = ChatCompletionRequest.model_validate(data)
    except ValidationError as e:
        # Tool calls are read by an iterator, whose errors vLLM counts among the request's.
        text = str(e).replace(f" for {e.title}\n", f" for {ChatCompletionRequest.__name__}\n", 1)
        raise ApiError.bad_request(_UNION_MEMBER.sub(_VLLM_MEMBER, text)) from None
    return chat.model_copy(update=_WITHOUT_EFFECT)
