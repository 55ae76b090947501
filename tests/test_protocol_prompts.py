"""Lengths and truncation of prompts with a context of 256 tokens; expected values from vLLM 0.33.0's answers."""

import dataclasses
from typing import Any

import pytest
from protocol_support import LIMITS, chat_refusal, completion_refusal
from tokenizer_support import characters

from vllm_mock.protocol import stages
from vllm_mock.protocol.completions import CompletionRequest
from vllm_mock.protocol.parsing import validate

CONTEXT = "This model's maximum context length is 256 tokens. However, your prompt contains"
ADVICE = "Please reduce the length of the input prompt."


def checked(**fields: Any) -> list[stages.CheckedPrompt]:
    return stages.check_completion(validate(fields, CompletionRequest), characters(), LIMITS)


@pytest.mark.parametrize("prompt", ["a" * 300, [1] * 257, ["b", "a" * 257]])
def test_too_many_tokens(prompt: Any) -> None:
    error = completion_refusal(prompt=prompt)
    assert error.message == (
        f"{CONTEXT} at least 257 input tokens, which exceeds this limit even without any output tokens. {ADVICE} "
        "(parameter=input_tokens, value=257)"
    )
    assert error.param == "input_tokens"


def test_number_of_given_ids_is_known() -> None:
    assert f"{CONTEXT} 300 input tokens" in completion_refusal(prompt=[1] * 300).message


def test_characters_are_counted_first() -> None:
    """13 characters is the longest token, so 3329 characters cannot be 256 tokens."""
    words = f"characters (more than 3328 characters, which is the upper bound for 256 input tokens). {ADVICE}"
    error = completion_refusal(prompt=["a" * 300, "a" * 3329])
    assert error.message == f"{CONTEXT} 3329 {words} (parameter=input_text, value=3329)"
    messages = [{"role": "user", "content": "a" * 3308}]
    assert f"{CONTEXT} 3329 {words}" in chat_refusal(messages=messages).message


def test_output_is_bounded_by_the_context() -> None:
    assert [prompt.max_tokens for prompt in checked(prompt=["a" * 250, "b"], max_tokens=100)] == [6, 100]
    error = completion_refusal(prompt=[1] * 256, max_tokens=None)
    assert error.message == "max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)"


@pytest.mark.parametrize(
    ("fields", "ids"),
    [
        ({"truncate_prompt_tokens": 3}, [67, 68, 69]),
        ({"truncate_prompt_tokens": 3, "truncation_side": "left"}, [67, 68, 69]),
        ({"truncate_prompt_tokens": 3, "truncation_side": "right"}, [64, 65, 66]),
        ({"truncate_prompt_tokens": 256}, [64, 65, 66, 67, 68, 69]),
    ],
)
def test_truncation(fields: dict, ids: list[int]) -> None:
    (prompt,) = checked(prompt="abcdef", **fields)
    assert (prompt.token_ids, prompt.text) == (ids, "abcdef")


def test_truncation_to_what_the_context_holds() -> None:
    (prompt,) = checked(prompt="a" * 40000, truncate_prompt_tokens=-1)
    assert (len(prompt.token_ids), prompt.max_tokens) == (255, 1)


@pytest.mark.parametrize("fields", [{"truncate_prompt_tokens": 0}, {"prompt": [[]]}, {"prompt": ["a", ""]}])
def test_empty_prompts(fields: dict) -> None:
    assert completion_refusal(**fields).message == "The decoder prompt cannot be empty"


def test_prompt_that_fills_the_context() -> None:
    error = completion_refusal(prompt=[1] * 256, echo=True, max_tokens=0)
    assert error.message.startswith("The decoder prompt (length 256) plus the number of requested output tokens")


@pytest.mark.parametrize("count", [1025, 2000])
def test_too_many_prompts(count: int) -> None:
    message = completion_refusal(prompt=["a"] * count).message
    assert message.startswith(f"prompt list length {count} exceeds the maximum allowed count of 1024.")
    assert f"contains {count} input tokens" in completion_refusal(prompt=[1] * count).message


def test_flags_widen_what_is_allowed() -> None:
    limits = dataclasses.replace(LIMITS, max_logprobs=-1, data_parallel_size=2, reasoning_parser="qwen3")
    with pytest.raises(AssertionError, match="accepted"):
        completion_refusal(limits, logprobs=320, thinking_token_budget=5)
    limits = dataclasses.replace(LIMITS, trust_request_chat_template=True, trust_request_mm_kwargs=True)
    with pytest.raises(AssertionError, match="accepted"):
        chat_refusal(limits, chat_template="{{ messages[0].content }}", mm_processor_kwargs={"a": 1})
    limits = dataclasses.replace(LIMITS, enable_auto_tool_choice=True, tool_call_parser="hermes")
    with pytest.raises(AssertionError, match="accepted"):
        chat_refusal(limits, tools=[{"function": {"name": "f"}}], tool_choice="required")
