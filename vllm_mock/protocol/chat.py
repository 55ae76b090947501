"""The request of /v1/chat/completions."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

from vllm_mock.protocol import precheck, structured
from vllm_mock.protocol.common import (
    REQUEST,
    AnyResponseFormat,
    CacheSalt,
    ChatCompletionToolsParam,
    Effort,
    Int64,
    NamedToolChoice,
    RepetitionDetectionParams,
    StopStrings,
    StreamInterval,
    StreamOptions,
    ThinkingBudget,
    TruncateTokens,
    XArg,
)
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.limits import Limits
from vllm_mock.protocol.messages import PlainChatMessages
from vllm_mock.protocol.structured import StructuredOutputsParams
from vllm_mock.protocol.tools import check_tool_usage


def _none_is_zero(value: Any) -> Any:
    return 0 if value is None else value


class ChatCompletionRequest(BaseModel):
    """Fields, their order, types and defaults as vLLM 0.33.0 has them.

    `request_id` is None unless the client set it (vLLM draws a random one here).
    """

    model_config = REQUEST

    messages: PlainChatMessages
    model: str | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = False
    top_logprobs: Annotated[int, BeforeValidator(_none_is_zero)] = 0
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = 1
    presence_penalty: float | None = None
    response_format: AnyResponseFormat = None
    seed: Int64 | None = None
    stop: str | StopStrings | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    tools: list[ChatCompletionToolsParam] | None = None
    tool_choice: Literal["none"] | Literal["auto"] | Literal["required"] | NamedToolChoice | None = "none"
    reasoning_effort: Effort | None = None
    thinking_token_budget: ThinkingBudget = None
    include_reasoning: bool = True
    parallel_tool_calls: bool | None = True
    user: str | None = None
    use_beam_search: bool = False
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    watermarking: bool | None = None
    length_penalty: float = 1.0
    stop_token_ids: list[int] | None = None
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    min_tokens: int = 0
    skip_special_tokens: bool | None = None
    spaces_between_special_tokens: bool = True
    truncate_prompt_tokens: TruncateTokens | None = None
    truncation_side: Literal["left", "right"] | None = None
    prompt_logprobs: int | None = None
    logprob_token_ids: list[int] | None = None
    allowed_token_ids: list[int] | None = None
    bad_words: list[str] = ()  # type: ignore[assignment]
    echo: bool = False
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    add_special_tokens: bool = False
    documents: list[dict[str, str]] | None = None
    chat_template: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    media_io_kwargs: dict[str, dict[str, Any]] | None = None
    mm_processor_kwargs: dict[str, Any] | None = None
    structured_outputs: StructuredOutputsParams | None = None
    priority: Int64 = 0
    request_id: str = None  # type: ignore[assignment]
    session_id: str | None = None
    return_tokens_as_token_ids: bool | None = None
    return_token_ids: bool | None = None
    return_weight_versions: bool = False
    routed_experts_prompt_start: Annotated[int, Field(ge=0)] = 0
    return_token_offsets: bool | None = False
    return_prompt_text: bool | None = None
    mm_payload: Literal["tensors", "none"] = "tensors"
    return_mm_kwargs: bool | None = None
    cache_salt: CacheSalt | None = None
    kv_transfer_params: dict[str, Any] | None = None
    ec_transfer_params: dict[str, Any] | None = None
    vllm_xargs: dict[str, XArg | list[XArg]] | None = None
    repetition_detection: RepetitionDetectionParams | None = None
    stream_interval: StreamInterval | None = None

    @staticmethod
    def precheck(data: dict[str, Any]) -> None:
        """vLLM's looks at the raw body, in its order. Raises ApiError."""
        _check_system_messages(data.get("messages", ()))
        check_generation_prompt(data)
        check_tool_usage(data)
        structured.check_structured_outputs_count(data, tool_choice=data.get("tool_choice", "none"))
        _check_logprobs(data)
        precheck.check_stream_options(data)
        precheck.check_response_format(data)
        _normalize_messages(data.get("messages"))
        precheck.check_cache_salt(data)
        precheck.apply_return_mm_kwargs(data)

    def postcheck(self) -> None:
        """Reads the tool calls of the messages, which pydantic checks only then. Raises ValidationError."""
        messages: list[Any] = self.messages
        for message in messages:
            if isinstance(message, dict) and message.get("tool_calls") is not None:
                message["tool_calls"] = list(message["tool_calls"])

    def check_prompt(self, num_tokens: int, limits: Limits) -> None:
        """What is looked at between the prompt and the sampling parameters. Raises ApiError."""

    def asked_max_tokens(self) -> tuple[str, int | None]:
        """The bound of the output in tokens and the name of the field that gives it."""
        if self.max_completion_tokens is not None:
            return "max_completion_tokens", self.max_completion_tokens
        return "max_tokens", self.max_tokens

    def prompt_only(self) -> bool:
        """Whether the prompt alone is answered."""
        return False

    def sample_logprobs(self) -> int | None:
        """How many logprobs each token gets; None for none at all, -1 for the whole vocabulary."""
        return self.top_logprobs if self.logprobs else None

    @property
    def beam_search_streams(self) -> bool:
        return True


def _normalize_messages(messages: Any) -> None:
    """Old names of fields become new ones; tool calls must be something to loop over."""
    for message in messages if isinstance(messages, list) else ():
        if not isinstance(message, dict):
            continue
        if "reasoning_content" in message:
            old = message.pop("reasoning_content")
            if old is not None and message.get("reasoning") is None:
                message["reasoning"] = old
        calls = message.get("tool_calls")
        if calls is not None:
            check_loop(calls)
            message["tool_calls"] = list(calls)


def _check_system_messages(messages: Any) -> None:
    check_loop(messages)
    for message in messages:
        if isinstance(message, dict) and message.get("role") == "system":
            content = message.get("content")
            for part in content if isinstance(content, list) else ():
                _check_part_type(part)


def _check_part_type(part: Any) -> None:
    part_type = part.get("type") if isinstance(part, dict) else None
    if part_type and isinstance(part_type, list | dict):  # vLLM looks it up in a set
        raise ApiError.bad_request(f"unhashable type: '{type(part_type).__name__}'")


def check_loop(value: Any) -> None:
    """vLLM loops over some values before they are validated; what cannot be looped over is told so."""
    if value is None or isinstance(value, int | float):
        raise ApiError.bad_request(f"'{type(value).__name__}' object is not iterable")


def check_generation_prompt(data: dict[str, Any]) -> None:
    if data.get("continue_final_message") and data.get("add_generation_prompt"):
        text = "Cannot set both `continue_final_message` and `add_generation_prompt` to True."
        raise ApiError.bad_request(text)


def _check_logprobs(data: dict[str, Any]) -> None:
    logprobs = data.get("logprobs")
    precheck.check_logprob_token_ids(data)
    precheck.check_logprobs_wanted(data)
    precheck.check_logprobs_types(data, "top_logprobs")
    precheck.check_prompt_logprobs(data)
    top = data.get("top_logprobs")
    if top is None:
        return
    precheck.check_logprobs_range("top_logprobs", top)
    if (top > 0 or top == -1) and not logprobs:
        text = "when using `top_logprobs`, `logprobs` must be set to true."
        raise ApiError.bad_request(text, "top_logprobs")
