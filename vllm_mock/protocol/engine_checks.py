"""What vLLM's engine refuses when it takes a request: token ids, counts of logprobs, structured outputs.

These come after the values of all prompts of a request were found good (see `sampling`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vllm_mock.protocol import structured
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.limits import Limits
from vllm_mock.protocol.sampling import check_logprobs_count, distinct
from vllm_mock.protocol.structured_checks import check_structured_outputs

if TYPE_CHECKING:
    from vllm_mock.protocol.sampling import Request


def check_engine_input(
    request: "Request",
    prompt_token_ids: Sequence[int],
    limits: Limits,
    data_parallel_rank: int | None = None,
) -> None:
    """One prompt, and the parameters that need the vocabulary. Raises ApiError.

    `data_parallel_rank` is the rank that the client asked for.
    """
    if request.use_beam_search:
        _check_prompt(prompt_token_ids, limits)
        return
    _check_parameters(request, limits)
    _check_rank(data_parallel_rank, limits)
    _check_prompt(prompt_token_ids, limits)
    _check_routed_experts(request.routed_experts_prompt_start, len(prompt_token_ids))
    _check_bad_words(request.bad_words)


def _check_parameters(request: "Request", limits: Limits) -> None:
    if request.logprob_token_ids:  # these tokens take the place of the likeliest ones
        _check_ids("logprob_token_ids", request.logprob_token_ids, limits)
    else:
        check_logprobs_count("sample", "logprobs", request.sample_logprobs(), limits)
    check_logprobs_count("prompt", "prompt_logprobs", request.prompt_logprobs, limits)
    if request.logit_bias:
        _check_ids("logit_bias", [int(key) for key in request.logit_bias], limits)
    _check_ids("stop_token_ids", request.stop_token_ids, limits)
    _check_allowed_ids(request.allowed_token_ids, limits)
    check_structured_outputs(structured.constraint(request), limits.structured_outputs_backend)
    if request.thinking_token_budget not in (None, -1) and not limits.reasoning_parser:
        raise ApiError.bad_request(
            "thinking_token_budget is set but reasoning_config is not configured. Please set "
            "--reasoning-parser and/or --reasoning-config to use thinking_token_budget."
        )


def _out_of_vocab(ids: Sequence[int], limits: Limits) -> list[int]:
    return [i for i in ids if not 0 <= i < limits.vocab_size]


def _check_ids(name: str, ids: Sequence[int] | None, limits: Limits) -> None:
    bad = _out_of_vocab(ids, limits) if ids else None
    if bad:
        text = f"token_id(s) {bad} in {name} contain out-of-vocab token ids. Vocabulary size: {limits.vocab_size}"
        raise ApiError.bad_request(text, name, bad)


def _check_allowed_ids(ids: list[int] | None, limits: Limits) -> None:
    if ids is None:
        return
    if not ids:
        raise ApiError.bad_request("allowed_token_ids is not None and empty!", "allowed_token_ids", ids)
    bad = _out_of_vocab(ids, limits)
    if bad:
        text = "allowed_token_ids contains out-of-vocab token id!"
        raise ApiError.bad_request(text, "allowed_token_ids", bad)


def _check_rank(rank: int | None, limits: Limits) -> None:
    if rank is not None and not 0 <= rank < limits.data_parallel_size:
        text = f"data_parallel_rank {rank} is out of range [0, {limits.data_parallel_size})."
        raise ApiError.bad_request(text)


def _check_prompt(token_ids: Sequence[int], limits: Limits) -> None:
    if not token_ids:
        raise ApiError.bad_request("The decoder prompt cannot be empty")
    longest = limits.max_model_len
    if len(token_ids) > longest:
        raise ApiError.bad_request(
            f"The decoder prompt (length {len(token_ids)}) is longer than the maximum model length of {longest}. Make "
            "sure that `max_model_len` is no smaller than the number of text tokens."
        )
    if len(token_ids) == longest:
        raise ApiError.bad_request(
            f"The decoder prompt (length {len(token_ids)}) plus the number of requested output tokens (at least "
            f"1) is longer than the maximum model length of {longest}. Make sure that `max_model_len` is no "
            "smaller than the number of text tokens (prompt + requested output tokens)."
        )
    highest = max(token_ids)
    if highest >= limits.vocab_size:
        raise ApiError.bad_request(f"Token id {highest} is out of vocabulary")


def _check_routed_experts(start: int, prompt_len: int) -> None:
    if start > prompt_len:
        text = f"routed_experts_prompt_start must be between 0 and the prompt length ({prompt_len}), inclusive."
        raise ApiError.bad_request(text, "routed_experts_prompt_start", start)


def _check_bad_words(words: Sequence[str]) -> None:
    """A word of white space alone has no token."""
    if any(not word.strip() for word in words):
        text = "bad_words entries must tokenize to at least one token."
        raise ApiError.bad_request(text, "bad_words", distinct(words))
