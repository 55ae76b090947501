"""The sampling parameters of a validated request, refused in vLLM's order (family B).

vLLM looks three times: at the lengths asked for before the prompt is rendered (`check_asked_lengths`), at
the values themselves for every prompt (`check_values`), and at what needs the vocabulary or the prompt when
the engine takes the request (`engine_checks.check_engine_input`). Which of two faults is told depends on this.
"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from vllm_mock.protocol import structured
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.limits import Limits

if TYPE_CHECKING:
    from vllm_mock.protocol.chat import ChatCompletionRequest
    from vllm_mock.protocol.completions import CompletionRequest

    Request: TypeAlias = ChatCompletionRequest | CompletionRequest

MAX_TEMPERATURE = 2
MAX_PENALTY = 2


def check_asked_lengths(request: "Request", limits: Limits) -> None:
    """Before the prompt is rendered: no length may be beyond the context. Raises ApiError."""
    longest = limits.max_model_len
    name, asked = request.asked_max_tokens()
    if asked is not None and asked > longest:
        text = f"{name}={asked} cannot be greater than max_model_len={longest}. Please request fewer output tokens."
        raise ApiError.bad_request(text, name, asked)
    truncate = request.truncate_prompt_tokens
    if truncate is not None and truncate > longest:
        text = (
            f"truncate_prompt_tokens={truncate} cannot be greater than max_model_len = {longest}. "
            "Please request a smaller truncation size."
        )
        raise ApiError.bad_request(text, "truncate_prompt_tokens", truncate)


def max_output_tokens(request: "Request", prompt_len: int, limits: Limits) -> int:
    """The most tokens to generate: what was asked for, or what the context leaves. May be 0 or less."""
    if request.prompt_only():
        return 1  # the prompt alone is answered, but the engine still makes a token
    room = limits.max_model_len - prompt_len
    _, asked = request.asked_max_tokens()
    return room if asked is None else min(asked, room)


def check_values(request: "Request", max_tokens: int, limits: Limits) -> None:
    """Every value by itself. `max_tokens` is the effective bound. Raises ApiError."""
    if request.use_beam_search:
        _check_beam_search(request, limits)
        return
    structured.constraint(request)
    if request.logit_bias:
        _check_bias_keys(request.logit_bias)
    _check_count("n", request.n, limits)
    _check_penalties(request)
    _check_temperature(request.temperature)
    _check_probabilities(request)
    _check_lengths(request.min_tokens, max_tokens)
    _check_strings(request)
    if request.n is not None and request.n > 1 and request.temperature == 0:
        raise ApiError.bad_request(f"n must be 1 when using greedy sampling, got {request.n}.")


def check_few_values(request: Any, max_tokens: int) -> None:
    """The parameters that a transcription has. Raises ApiError."""
    _check_penalties(request)
    _check_temperature(request.temperature)
    _check_probabilities(request)
    _check_lengths(0, max_tokens)


def _check_bias_keys(logit_bias: dict[str, float]) -> None:
    bad = [key for key in logit_bias if not _is_int(key)]
    if bad:
        text = f"logit_bias contains key(s) that cannot be converted to integer token IDs: {bad}"
        raise ApiError.bad_request(text, "logit_bias", bad)


def _is_int(key: str) -> bool:
    try:
        int(key)
    except ValueError:
        return False
    return True


def _check_count(name: str, count: int | None, limits: Limits) -> None:
    if count is None:
        return
    if count < 1:
        raise ApiError.bad_request(f"{name} must be at least 1, got {count}.")
    if count > limits.max_sequences:
        text = (
            f"{name} must be at most {limits.max_sequences}, got {count}. "
            "To increase this limit, set the VLLM_MAX_N_SEQUENCES environment variable."
        )
        raise ApiError.bad_request(text)


def _check_penalties(request: "Request") -> None:
    for name in ("presence_penalty", "frequency_penalty"):
        value = getattr(request, name)
        if value is not None and not -MAX_PENALTY <= value <= MAX_PENALTY:
            raise ApiError.bad_request(f"{name} must be in [-2, 2], got {value}.")
    repetition = request.repetition_penalty
    if repetition is None:
        return
    if not math.isfinite(repetition):
        raise ApiError.bad_request(f"repetition_penalty must be a finite number, got {repetition}.")
    if repetition <= 0:
        raise ApiError.bad_request(f"repetition_penalty must be greater than zero, got {repetition}.")


def _check_temperature(temperature: float | None) -> None:
    if temperature is None or 0 <= temperature <= MAX_TEMPERATURE:
        return
    if not math.isfinite(temperature):
        text = f"temperature must be a finite number, got {temperature}."
    elif temperature < 0:
        text = f"temperature must be non-negative, got {temperature}."
    else:
        text = f"temperature must be in [0, {MAX_TEMPERATURE}], got {temperature}."
    raise ApiError.bad_request(text, "temperature", temperature)


def _check_probabilities(request: "Request") -> None:
    top_p, top_k, min_p = request.top_p, request.top_k, request.min_p
    if top_p is not None and not 0 < top_p <= 1:
        raise ApiError.bad_request(f"top_p must be in (0, 1], got {top_p}.", "top_p", top_p)
    if top_k is not None and top_k < -1:
        raise ApiError.bad_request(f"top_k must be 0 (disable), or at least 1, got {top_k}.")
    if min_p is not None and not 0 <= min_p <= 1:
        raise ApiError.bad_request(f"min_p must be in [0, 1], got {min_p}.")


def _check_lengths(min_tokens: int, max_tokens: int) -> None:
    if max_tokens < 1:
        text = f"max_tokens must be at least 1, got {max_tokens}."
        raise ApiError.bad_request(text, "max_tokens", max_tokens)
    if min_tokens < 0:
        raise ApiError.bad_request(f"min_tokens must be greater than or equal to 0, got {min_tokens}.")
    if min_tokens > max_tokens:
        text = f"min_tokens must be less than or equal to max_tokens={max_tokens}, got {min_tokens}."
        raise ApiError.bad_request(text)


def _check_strings(request: "Request") -> None:
    stop = request.stop
    if stop is not None and (stop == "" or (isinstance(stop, list) and "" in stop)):
        raise ApiError.bad_request("stop cannot contain an empty string.")
    if "" in request.bad_words:
        words = distinct(request.bad_words)
        raise ApiError.bad_request(f"bad_words cannot contain an empty string. Got bad_words={words}")


def distinct(words: Iterable[str]) -> list[str]:
    """The words without repetition, in their order."""
    return list(dict.fromkeys(words))


def _check_beam_search(request: "Request", limits: Limits) -> None:
    """Beam search has few parameters of its own; the others are not looked at."""
    if request.stream and not request.beam_search_streams:
        raise ApiError.bad_request("Streaming is not currently supported with beam search")
    _check_count("beam_width", request.n, limits)
    _check_temperature(request.temperature)
    if request.allowed_token_ids is not None:
        if not request.allowed_token_ids:
            raise ApiError.bad_request("Beam search allowed_token_ids must not be empty")
        raise ApiError.bad_request("Beam allowlists require the V2 model runner")
    check_logprobs_count("sample", "logprobs", 2 * (request.n or 1), limits)


def check_logprobs_count(kind: str, name: str, count: int | None, limits: Limits) -> None:
    """`count` logprobs per token, -1 for the whole vocabulary."""
    if count is None:
        return
    wanted = limits.vocab_size if count == -1 else count
    allowed = limits.logprobs_allowed
    if wanted > allowed:
        text = f"Requested {kind} logprobs of {wanted}, which is greater than max allowed: {allowed}"
        raise ApiError.bad_request(text, name, wanted)
