"""The request of /v1/completions."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from vllm_mock.protocol import precheck, structured
from vllm_mock.protocol.common import (
    REQUEST,
    AnyResponseFormat,
    CacheSalt,
    Int64,
    RepetitionDetectionParams,
    StopStrings,
    StreamInterval,
    StreamOptions,
    ThinkingBudget,
    TruncateTokens,
    XArg,
    bound,
)
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.structured import StructuredOutputsParams

TokenIds = list[Annotated[int, Field(ge=0)]]
DEFAULT_MAX_TOKENS = 16
MAX_PROMPTS = bound("VLLM_MAX_COMPLETION_PROMPTS", 1024)


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
    response_format: AnyResponseFormat = None
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
        structured.check_structured_outputs_count(data, "structured_outputs")
        precheck.check_response_format(data)
        if data.get("max_tokens", 0) is None:
            data["max_tokens"] = DEFAULT_MAX_TOKENS
        precheck.check_cache_salt(data)
        precheck.apply_return_mm_kwargs(data)

    def asked_max_tokens(self) -> tuple[str, int | None]:
        """The bound of the output in tokens and the name of the field that gives it."""
        return "max_tokens", self.max_tokens

    def prompt_only(self) -> bool:
        """Whether the prompt alone is answered."""
        return self.max_tokens == 0 and bool(self.echo)

    def sample_logprobs(self) -> int | None:
        """How many logprobs each token gets; None for none at all, -1 for the whole vocabulary."""
        return self.logprobs

    @property
    def beam_search_streams(self) -> bool:
        return False


def _check_prompt(data: dict[str, Any]) -> None:
    for name in ("prompt", "prompt_embeds"):
        _check_prompt_count(name, data.get(name))
    prompt = data.get("prompt")
    if (prompt is None or prompt == "") and data.get("prompt_embeds") in (None, []):
        text = "Either prompt or prompt_embeds must be provided and non-empty."
        raise ApiError.bad_request(text, "prompt")


def _check_prompt_count(name: str, prompts: Any) -> None:
    if not isinstance(prompts, list) or len(prompts) <= MAX_PROMPTS:
        return
    if name == "prompt" and isinstance(prompts[0], int):  # one prompt of token ids
        return
    text = (
        f"{name} list length {len(prompts)} exceeds the maximum allowed count of {MAX_PROMPTS}. "
        "To increase this limit, set the VLLM_MAX_COMPLETION_PROMPTS environment variable."
    )
    raise ApiError.bad_request(text, name)


def _check_logprobs(data: dict[str, Any]) -> None:
    logprobs = data.get("logprobs")
    precheck.check_logprob_token_ids(data)
    if data.get("logprob_token_ids"):
        _check_logprob_token_ids(data)
    precheck.check_logprobs_types(data, "logprobs")
    precheck.check_prompt_logprobs(data)
    precheck.check_logprobs_range("logprobs", logprobs)


def _check_logprob_token_ids(data: dict[str, Any]) -> None:
    if data.get("echo") and data.get("max_tokens") == 0:
        text = (
            "`logprob_token_ids` is not supported when `echo=True` and `max_tokens=0` "
            "because no output tokens are generated."
        )
        raise ApiError.bad_request(text, "logprob_token_ids")
    if data.get("logprobs") is None:
        text = "when using `logprob_token_ids`, `logprobs` must be set."
        raise ApiError.bad_request(text, "logprob_token_ids")
