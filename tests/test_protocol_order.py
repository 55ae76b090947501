"""Which of two faults is told: pairs that were sent to vLLM 0.33.0. Each row is told before those below it."""

from itertools import combinations
from typing import Any

import pytest
from protocol_support import chat_refusal, completion_refusal

LONG = [{"role": "user", "content": "a" * 300}]
CHAT_ORDER: list[tuple[dict[str, Any], str]] = [
    ({"messages": 5}, "'int' object is not iterable"),
    ({"add_generation_prompt": True, "continue_final_message": True}, "Cannot set both"),
    ({"tool_choice": "auto"}, "When using `tool_choice`, `tools` must be set."),
    ({"structured_outputs": {"regex": "a", "choice": ["b"]}}, "You can only use one kind of constraints"),
    ({"top_logprobs": 3}, "when using `top_logprobs`"),
    ({"stream_options": {"include_usage": True}}, "Stream options can only"),
    ({"response_format": {"type": "json_schema"}}, "When response_format type is 'json_schema'"),
    ({"cache_salt": ""}, "Parameter 'cache_salt' must be a non-empty string"),
    ({"thinking_token_budget": -2}, "`thinking_token_budget` must be"),
    ({"structured_outputs": {}}, "You must use one kind of structured outputs"),
    ({"repetition_detection": {"max_pattern_size": -1}}, "max_pattern_size, min_pattern_size"),
    ({"user": 5}, "1 validation error"),
    ({"model": "nope"}, "The model `nope` does not exist."),
    ({"tools": [{"function": {"name": "f"}}]}, '"auto" tool choice requires'),
    ({"chat_template": "x"}, "Chat template is passed"),
    ({"mm_processor_kwargs": {"a": 1}}, "Per-request mm_processor_kwargs"),
    ({"max_tokens": 10**6}, "max_tokens=1000000 cannot be greater"),
    ({"truncate_prompt_tokens": 1000}, "truncate_prompt_tokens=1000 cannot"),
    ({"messages": []}, "Cannot apply chat template to an empty conversation"),
    ({"continue_final_message": True}, "continue_final_message and add_generation_prompt are not"),
    ({"messages": LONG}, "This model's maximum context length is 256"),
    ({"logit_bias": {"a": 1}}, "logit_bias contains key(s)"),
    ({"n": 0}, "n must be at least 1"),
    ({"presence_penalty": 5}, "presence_penalty must be in"),
    ({"frequency_penalty": -3}, "frequency_penalty must be in"),
    ({"repetition_penalty": 0}, "repetition_penalty must be greater"),
    ({"temperature": -1}, "temperature must be non-negative"),
    ({"top_p": 0}, "top_p must be in"),
    ({"top_k": -5}, "top_k must be 0"),
    ({"min_p": 2}, "min_p must be in"),
    ({"max_tokens": 0}, "max_tokens must be at least 1"),
    ({"min_tokens": 100}, "min_tokens must be less"),
    ({"stop": ""}, "stop cannot contain"),
    ({"bad_words": [""]}, "bad_words cannot contain"),
    ({"n": 2, "temperature": 0}, "n must be 1 when using greedy"),
    ({"logprobs": True, "top_logprobs": 50}, "Requested sample logprobs of 50"),
    ({"prompt_logprobs": 50}, "Requested prompt logprobs of 50"),
    ({"logit_bias": {"99999": 1}}, "token_id(s) [99999] in logit_bias"),
    ({"stop_token_ids": [-1]}, "token_id(s) [-1] in stop_token_ids"),
    ({"allowed_token_ids": []}, "allowed_token_ids is not None and empty!"),
    ({"structured_outputs": {"regex": "["}}, "Grammar error"),
    ({"thinking_token_budget": 5}, "thinking_token_budget is set but"),
    ({"routed_experts_prompt_start": 10**6}, "routed_experts_prompt_start must be"),
    ({"bad_words": [" "]}, "bad_words entries must tokenize"),
]
COMPLETION_ORDER: list[tuple[dict[str, Any], str]] = [
    ({"prompt": ""}, "Either prompt or prompt_embeds"),
    ({"stream_options": {"include_usage": True}}, "Stream options can only"),
    ({"logprob_token_ids": [1]}, "when using `logprob_token_ids`"),
    ({"prompt_logprobs": -2}, "`prompt_logprobs` must be a positive"),
    ({"logprobs": -2}, "`logprobs` must be a positive"),
    ({"structured_outputs": {"regex": "a", "choice": ["b"]}}, "You can only use one kind of constraints"),
    ({"response_format": {"type": "json_schema"}}, "When response_format type is"),
    ({"cache_salt": "a/b"}, "Parameter 'cache_salt' must be at most"),
    ({"user": 5}, "1 validation error"),
    ({"model": "nope"}, "The model `nope` does not exist."),
    ({"suffix": "x"}, "suffix is only supported"),
    ({"max_tokens": 10**6}, "max_tokens=1000000 cannot be greater"),
    ({"prompt_embeds": "AAAA"}, "You must set `--enable-prompt-embeds`"),
    ({"prompt": "a" * 300}, "This model's maximum context length is 256"),
    ({"n": 0}, "n must be at least 1"),
    ({"logprobs": 50}, "Requested sample logprobs of 50"),
    ({"allowed_token_ids": [320]}, "allowed_token_ids contains out-of-vocab"),
    ({"prompt": [[99999]]}, "Token id 99999 is out of vocabulary"),
]
# Fields of which one changes what the other means.
NO_PAIRS: list[set[str]] = [
    {"tools", "tool_choice"},
    {"logprobs", "logprob_token_ids"},
    {"prompt", "prompt_embeds"},
    {"suffix", "prompt_embeds"},
    {"suffix", "prompt"},
]


def faults(order: list[tuple[dict[str, Any], str]]) -> list:
    def independent(a: dict, b: dict) -> bool:
        return not set(a) & set(b) and not any(pair <= set(a) | set(b) for pair in NO_PAIRS)

    return [(a, b) for a, b in combinations(order, 2) if independent(a[0], b[0])]


@pytest.mark.parametrize(("fields", "message"), CHAT_ORDER)
def test_chat_fault_alone(fields: dict[str, Any], message: str) -> None:
    assert chat_refusal(**fields).message.startswith(message)


@pytest.mark.parametrize(("fields", "message"), COMPLETION_ORDER)
def test_completion_fault_alone(fields: dict[str, Any], message: str) -> None:
    assert completion_refusal(**fields).message.startswith(message)


def test_first_of_two_chat_faults() -> None:
    for (fields, message), (later, _) in faults(CHAT_ORDER):
        assert chat_refusal(**fields, **later).message.startswith(message), (fields, later)


def test_first_of_two_completion_faults() -> None:
    for (fields, message), (later, _) in faults(COMPLETION_ORDER):
        assert completion_refusal(**fields, **later).message.startswith(message), (fields, later)
