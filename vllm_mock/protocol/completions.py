"""The request of /v1/completions."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from vllm_mock.protocol import precheck, structured
from vllm_mock.protocol.common import (
    REQUEST,
    CacheSalt,
    Int64,
    RepetitionDetectionParams,
    ResponseFormat,
    StopStrings,
    StreamInterval,
    StreamOptions,
    ThinkingBudget,
    TruncateTokens,
    XArg,
)
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.structured import StructuredOutputsParams

TokenIds = list[Annotated[int, Field(ge=0)]]
DEFAULT_MAX_TOKENS = 16


class CompletionRequest(BaseModel):
    """Fields, their order, types and defaults as vLLM 0.33.0 has them.

    `request_id` is None unless the client set it (vLLM draws a random one here).
    """

    model_config = REQUEST

    model: str | None = None
    prompt: TokenIds | list[TokenIds] | str | list[str] | None = None
    echo: bool | None = False
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: int | None = None
    max_tokens: int | None = DEFAULT_MAX_TOKENS
    n: int = 1
    presence_penalty: float | None = None
    seed: Int64 | None = None
    stop: str | StopStrings | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    suffix: str | None = None
    temperature: float | None = None
    top_p: float | None = None
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
    allowed_token_ids: list[int] | None = None
    prompt_logprobs: int | None = None
    logprob_token_ids: list[int] | None = None
    bad_words: list[str] = ()  # type: ignore[assignment]
    prompt_embeds: bytes | list[bytes] | None = None
    add_special_tokens: bool = True
    response_format: ResponseFormat = None
    structured_outputs: StructuredOutputsParams | None = None
    priority: Int64 = 0
    request_id: str = None  # type: ignore[assignment]
    session_id: str | None = None
    return_tokens_as_token_ids: bool | None = None
    return_token_ids: bool | None = None
    return_weight_versions: bool = False
    routed_experts_prompt_start: Annotated[int, Field(ge=0)] = 0
    return_token_offsets: bool | None = False
    mm_payload: Literal["tensors", "none"] = "tensors"
    return_mm_kwargs: bool | None = None
    cache_salt: CacheSalt | None = None
    kv_transfer_params: dict[str, Any] | None = None
    ec_transfer_params: dict[str, Any] | None = None
    vllm_xargs: dict[str, XArg | list[XArg]] | None = None
    repetition_detection: RepetitionDetectionParams | None = None
    thinking_token_budget: ThinkingBudget = None
    stream_interval: StreamInterval | None = None

    @staticmethod
    def precheck(data: dict[str, Any]) -> None:
        """vLLM's looks at the raw body, in its order. Raises ApiError."""
        _check_prompt(data)
        precheck.check_stream_options(data)
        _check_logprobs(data)
        structured.check_count(data)
        precheck.check_response_format(data)
        if data.get("max_tokens", 0) is None:
            data["max_tokens"] = DEFAULT_MAX_TOKENS
        precheck.check_cache_salt(data)


def _check_prompt(data: dict[str, Any]) -> None:
    prompt = data.get("prompt")
    if (prompt is None or prompt == "") and not data.get("prompt_embeds"):
        text = "Either prompt or prompt_embeds must be provided and non-empty."
        raise ApiError.bad_request(text, "prompt")


def _check_logprobs(data: dict[str, Any]) -> None:
    precheck.check_prompt_logprobs(data)
    logprobs = data.get("logprobs")
    if logprobs is not None:
        precheck.check_logprobs_number("logprobs", logprobs)
