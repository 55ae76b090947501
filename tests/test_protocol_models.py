"""Accepted requests: defaults, conversions, and what building the models costs."""

import subprocess
import sys

import pytest
from protocol_support import CHAT, COMPLETIONS, HI, refusal, send

from vllm_mock.protocol import warm_up
from vllm_mock.protocol.chat import ChatCompletionRequest
from vllm_mock.protocol.completions import CompletionRequest
from vllm_mock.protocol.parsing import validate
from vllm_mock.protocol.tokenize import TokenizeChatRequest, TokenizeCompletionRequest, TokenizeRequest


def chat(**fields: object) -> ChatCompletionRequest:
    return validate({"messages": HI} | fields, ChatCompletionRequest)


def completion(**fields: object) -> CompletionRequest:
    return validate({"prompt": "hi"} | fields, CompletionRequest)


def test_defaults() -> None:
    request = chat()
    assert request.model is None
    assert request.n == 1
    assert request.tool_choice == "none"
    assert request.asked_max_tokens() == ("max_tokens", None)
    assert request.sample_logprobs() is None
    assert request.add_generation_prompt
    assert not request.add_special_tokens
    assert completion().max_tokens == 16
    assert completion(max_tokens=None).max_tokens == 16
    assert completion().add_special_tokens


def test_conversions() -> None:
    request = chat(max_tokens="5", n=True, temperature="0.5", stream="yes", logprobs=1, top_logprobs=2.0)
    assert (request.max_tokens, request.n, request.temperature, request.stream) == (5, 1, 0.5, True)
    assert request.sample_logprobs() == 2
    assert chat(top_logprobs=None).top_logprobs == 0


def test_newer_bound_wins() -> None:
    request = chat(max_tokens=3, max_completion_tokens=5)
    assert request.asked_max_tokens() == ("max_completion_tokens", 5)


def test_tools_imply_auto() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert chat(tools=tools).tool_choice == "auto"
    assert chat(tools=tools, tool_choice=None).tool_choice is None
    assert chat(tools=tools, tool_choice=tools[0]).tool_choice.function.name == "f"


def test_prompts() -> None:
    assert completion(prompt=["a", "b"]).prompt == ["a", "b"]
    assert completion(prompt=[1, 2]).prompt == [1, 2]
    assert completion(prompt=[[1], [2, 3]]).prompt == [[1], [2, 3]]


def test_plain_messages_and_others_give_the_same() -> None:
    plain = chat().messages
    checked = chat(messages=[HI[0], {"role": "user", "content": [{"type": "text", "text": "x"}]}]).messages
    assert plain[0] == dict(checked[0])


@pytest.mark.parametrize("role", ["user", "system", "assistant", "developer", "banana", "tool", "function", ""])
def test_any_role_is_fine(role: str) -> None:
    assert chat(messages=[{"role": role, "content": "x"}]).messages[0]["role"] == role


def test_plain_messages_need_both_fields() -> None:
    error = refusal(CHAT, {"messages": [HI[0], {"content": "hi"}]})
    assert error.param == "body.messages.1.ChatCompletionDeveloperMessageParam.role"
    assert error.message.startswith("11 validation errors:")


def test_either_kind_of_tokenize() -> None:
    assert isinstance(validate({"prompt": ""}, TokenizeRequest), TokenizeCompletionRequest)
    assert isinstance(validate({"messages": HI}, TokenizeRequest), TokenizeChatRequest)
    assert isinstance(validate({"messages": HI, "prompt": "x"}, TokenizeRequest), TokenizeChatRequest)
    assert isinstance(validate({"messages": 5, "prompt": "x"}, TokenizeRequest), TokenizeCompletionRequest)


def test_tokenize_and_detokenize() -> None:
    assert send("/tokenize", {"messages": HI}) == [258, 71, 72, 259]
    assert send("/tokenize", {"prompt": ""}) == []
    assert len(send("/tokenize", {"prompt": "a" * 40000})) == 40000
    assert send("/detokenize", {"tokens": [258, 65, 257, 99999]}) == "<|user|>b</s>"
    assert refusal("/detokenize", {"tokens": [2**32]}).type == "BadRequestError"


def test_prompt_alone() -> None:
    """echo with max_tokens 0 answers the prompt; without echo 0 is refused."""
    assert send(COMPLETIONS, {"prompt": "hi", "max_tokens": 0, "echo": True}).prompt_only()
    error = refusal(COMPLETIONS, {"prompt": "hi", "max_tokens": 0})
    assert error.message == "max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)"


def test_nothing_heavy_comes_with_the_errors() -> None:
    code = (
        "import sys, vllm_mock.protocol, vllm_mock.protocol.errors, vllm_mock.protocol.body, "
        "vllm_mock.protocol.limits; sys.exit('pydantic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_warm_up_builds_all() -> None:
    warm_up()
    assert chat().messages == HI
