"""A generate request in the words of the other APIs, whose checks and parsers then serve it as well."""

from typing import Any, get_args

from vllm_mock.protocol import sampling
from vllm_mock.protocol.chat import ChatCompletionRequest
from vllm_mock.protocol.common import Effort
from vllm_mock.protocol.completions import CompletionRequest
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.limits import Limits
from vllm_mock.protocol.scale_out.requests import GenerateRequest

# Parameters that a completion request calls the same.
_SHARED = (
    *("n", "presence_penalty", "frequency_penalty", "repetition_penalty", "temperature", "top_p", "top_k", "min_p"),
    *("seed", "stop", "stop_token_ids", "ignore_eos", "max_tokens", "min_tokens", "logprobs", "prompt_logprobs"),
    *("logprob_token_ids", "skip_special_tokens", "include_stop_str_in_output", "structured_outputs"),
    *("allowed_token_ids", "thinking_token_budget", "routed_experts_prompt_start", "stream_interval"),
)


def completion_request(request: GenerateRequest, limits: Limits) -> CompletionRequest:
    """The completion that asks for the same. Raises ApiError for a value that no parameter may have."""
    params: Any = request.sampling_params
    fields = {name: getattr(params, name) for name in _SHARED}
    asked = CompletionRequest.model_construct(
        **fields,
        prompt=request.token_ids,
        model=request.model,
        bad_words=params.bad_words or [],
        logit_bias={str(key): value for key, value in (params.logit_bias or {}).items()} or None,
        vllm_xargs=params.extra_args,
        stream=request.stream,
        stream_options=request.stream_options,
        request_id=request.request_id,
        cache_salt=request.cache_salt,
        priority=request.priority,
        return_token_ids=request.return_token_ids,
        kv_transfer_params=request.kv_transfer_params,
        ec_transfer_params=request.ec_transfer_params,
    )
    longest = limits.max_model_len
    sampling.check_values(asked, longest if params.max_tokens is None else params.max_tokens, limits)
    for name in ("logprobs", "prompt_logprobs"):
        value = getattr(params, name)
        if value is not None and value < -1:
            raise ApiError.bad_request(f"{name} must be non-negative or -1, got {value}.", name, value)
    return asked


def check_request(request: GenerateRequest, limits: Limits) -> None:
    """What the served model and its parsers cannot do. Raises ApiError."""
    if request.output_mode == "derender":
        if request.stream:
            raise ApiError.bad_request("output_mode='derender' does not support stream=true.")
        if request.parse_context is None and (limits.tool_call_parser or limits.reasoning_parser):
            raise ApiError.bad_request(
                "output_mode='derender' requires parse_context on a server with a tool or reasoning parser. "
                "Use the one returned by /render."
            )
    length, longest = len(request.token_ids), limits.max_model_len
    params: Any = request.sampling_params
    if params.max_tokens is None and length > longest:
        text = f"Input length ({length}) exceeds model's maximum context length ({longest})."
        raise ApiError.bad_request(text)


def chat_request(request: GenerateRequest) -> ChatCompletionRequest | None:
    """What of the chat request is known that was rendered to this one; None for a completion's."""
    context = request.parse_context
    if context is None:
        return None
    params: Any = request.sampling_params
    return ChatCompletionRequest.model_construct(
        messages=[{"role": "user", "content": ""}],
        tools=context.tools,
        tool_choice=context.tool_choice,
        parallel_tool_calls=context.parallel_tool_calls,
        include_reasoning=context.include_reasoning,
        chat_template_kwargs=context.chat_template_kwargs,
        reasoning_effort=_effort(context.chat_template_kwargs),
        thinking_token_budget=params.thinking_token_budget,
        stream=request.stream,
    )


def _effort(arguments: dict[str, Any]) -> Any:
    effort = arguments.get("reasoning_effort")
    return effort if effort in get_args(Effort) else None
