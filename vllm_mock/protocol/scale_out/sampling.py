"""vLLM's SamplingParams as a JSON object: as a client sends them, and as /render writes them."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, InstanceOf
from pydantic_core import PydanticCustomError

from vllm_mock.protocol import structured
from vllm_mock.protocol.common import RepetitionDetectionParams, unchanged
from vllm_mock.protocol.structured import StructuredOutputsParams

if TYPE_CHECKING:
    from vllm_mock.protocol.sampling import Request

# vLLM's kinds of output: what is new since the last one, or the whole at the end.
DELTA, FINAL_ONLY = 1, 2


class SamplingParamsFields(BaseModel):
    """The fields of vLLM's class that a client may set."""

    model_config = ConfigDict(defer_build=True)

    n: int = 1
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    watermarking: bool | None = None
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    max_tokens: int | None = None
    min_tokens: int = 0
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    logprob_token_ids: list[int] | None = None
    flat_logprobs: bool = False
    detokenize: bool = True
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True
    include_stop_str_in_output: bool = False
    stream_interval: int | None = None
    structured_outputs: StructuredOutputsParams | None = None
    logit_bias: dict[int, float] | None = None
    allowed_token_ids: list[int] | None = None
    extra_args: dict[str, Any] | None = None
    bad_words: list[str] | None = None
    skip_reading_prefix_cache: bool | None = None
    thinking_token_budget: int | None = None
    repetition_detection: RepetitionDetectionParams | None = None
    routed_experts_prompt_start: int = 0


class SamplingParams:
    """Not sent over the wire, but named when what is sent cannot be read."""


def _dictionary(value: Any) -> Any:
    if not isinstance(value, dict):
        raise PydanticCustomError("dict_type", "Input should be a valid dictionary")
    return value


# vLLM's own class comes first in its union, so that each fault is told after "not an instance".
AnySamplingParams = (
    InstanceOf[SamplingParams] | Annotated[SamplingParamsFields, BeforeValidator(_dictionary), unchanged]
)


def rendered(request: "Request", max_tokens: int, *, streamed: bool) -> dict[str, Any]:
    """The parameters of a validated chat or completion request. Those with their default are left out, except the
    ones that vLLM always writes.
    """
    greedy = request.temperature == 0
    prompt_logprobs = _prompt_logprobs(request)
    constraint = structured.constraint(request)
    stop = request.stop
    written: dict[str, Any] = {
        "n": _unless(request.n, 1),
        "presence_penalty": request.presence_penalty or 0.0,
        "frequency_penalty": request.frequency_penalty or 0.0,
        "repetition_penalty": 1.0 if request.repetition_penalty is None else request.repetition_penalty,
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "watermarking": request.watermarking,
        "top_p": None if greedy else 1.0 if request.top_p is None else request.top_p,
        "top_k": None if greedy else _unless(request.top_k, 0),
        "min_p": None if greedy else request.min_p or 0.0,
        "seed": request.seed,
        "stop": [] if stop is None else [stop] if isinstance(stop, str) else stop,
        "stop_token_ids": request.stop_token_ids or [],
        "ignore_eos": request.ignore_eos or None,
        "max_tokens": _unless(max_tokens, 16),
        "min_tokens": _unless(request.min_tokens, 0),
        "logprobs": None if request.logprob_token_ids else request.sample_logprobs(),
        "prompt_logprobs": prompt_logprobs,
        "logprob_token_ids": request.logprob_token_ids,
        "skip_special_tokens": False if _shows_special_tokens(request) else None,
        "spaces_between_special_tokens": None if request.spaces_between_special_tokens else False,
        "include_stop_str_in_output": request.include_stop_str_in_output or None,
        "output_kind": DELTA if streamed else FINAL_ONLY,
        "stream_interval": request.stream_interval,
        "skip_clone": True,
        "structured_outputs": None if constraint is None else constraint.told(),
        "logit_bias": request.logit_bias,
        "allowed_token_ids": request.allowed_token_ids,
        "extra_args": request.vllm_xargs,
        "bad_words": list(request.bad_words),
        "skip_reading_prefix_cache": prompt_logprobs is not None,
        "thinking_token_budget": request.thinking_token_budget,
        "repetition_detection": None if request.repetition_detection is None else asdict(request.repetition_detection),
        "routed_experts_prompt_start": _unless(request.routed_experts_prompt_start, 0),
    }
    return {name: value for name, value in written.items() if value is not None}


def _prompt_logprobs(request: "Request") -> int | None:
    if request.prompt_logprobs is not None or not request.echo:
        return request.prompt_logprobs
    top = getattr(request, "top_logprobs", None)
    return request.sample_logprobs() if top is None else top


def _unless(value: int | None, default: int) -> int | None:
    return None if value == default else value


def _shows_special_tokens(request: "Request") -> bool:
    """Asked for, or needed by a parser that looks for calls of tools."""
    if request.skip_special_tokens is not None:
        return not request.skip_special_tokens
    tools, choice = getattr(request, "tools", None), getattr(request, "tool_choice", None)
    return bool(tools) and choice not in (None, "none")
