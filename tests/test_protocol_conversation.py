"""Messages as chat templates get them; expected values shown by vLLM 0.33.0 through a template that prints them."""

import dataclasses
from typing import Any

import pytest
from protocol_support import HI, LIMITS, chat_refusal

from vllm_mock.protocol.chat import ChatCompletionRequest
from vllm_mock.protocol.chat_template import template_arguments
from vllm_mock.protocol.conversation import conversation, refuse_media
from vllm_mock.protocol.parsing import validate


def text(value: object) -> dict:
    return {"type": "text", "text": value}


def shown(*messages: dict, **options: Any) -> list[dict]:
    request = validate({"messages": list(messages)}, ChatCompletionRequest)
    return conversation(request.messages, refuse_media("tiny"), **options)


def call(arguments: str) -> dict:
    return {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("hi", "hi"),
        ([text("a"), text("b")], "a\nb"),
        ([text("a"), text("")], "a"),
        ([text("a\n"), text("b")], "a\n\nb"),
        ([], ""),
    ],
)
def test_content_of_users(content: object, expected: str) -> None:
    assert shown({"role": "user", "content": content}) == [{"role": "user", "content": expected}]


def test_parts_that_only_vllm_knows() -> None:
    parts = ["y", {"type": "thinking", "thinking": "t"}, {"type": "tool_reference", "name": "n"}, {"type": "text"}]
    assert shown({"role": "banana", "content": parts}) == [{"role": "banana", "content": "y\nt\nn"}]


def test_kept_parts() -> None:
    parts = [text("a"), text(""), {"type": "refusal", "refusal": "no"}]
    expected = [text("a"), text(""), text("no")]
    assert shown({"role": "assistant", "content": parts}, keep_parts=True)[0]["content"] == expected
    assert shown({"role": "user", "content": "x"}, keep_parts=True)[0]["content"] == [text("x")]
    assert shown({"role": "assistant"}, keep_parts=True)[0]["content"] == []


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "assistant"}, {"content": ""}),
        ({"role": "assistant", "content": None}, {"content": ""}),
        ({"role": "user", "content": "x", "name": "bob", "foo": 1}, {"content": "x", "name": "bob"}),
        ({"role": "assistant", "content": "c", "refusal": "r", "name": "n"}, {"content": "c", "name": "n"}),
        ({"role": "user", "content": "c", "reasoning": "r"}, {"content": "c"}),
        ({"role": "tool", "content": "42", "tool_call_id": "c"}, {"content": "42", "tool_call_id": "c"}),
        ({"role": "user", "content": "x", "tool_calls": [call("{}")]}, {"content": "x"}),
        ({"role": "function", "content": None, "name": "f"}, {"content": "", "name": "f"}),
    ],
)
def test_fields_of_messages(message: dict, expected: dict) -> None:
    assert shown(message) == [{"role": message["role"], **expected}]


@pytest.mark.parametrize(
    ("fields", "reasoning"),
    [
        ({"reasoning": "r"}, "r"),
        ({"reasoning_content": "r"}, "r"),
        ({"reasoning_content": "r", "reasoning": "q"}, "q"),
        ({"reasoning_content": "r", "reasoning": None}, "r"),
        ({"reasoning": ""}, ""),
    ],
)
def test_reasoning(fields: dict, reasoning: str) -> None:
    expected = {"role": "assistant", "content": "c", "reasoning": reasoning, "reasoning_content": reasoning}
    assert shown({"role": "assistant", "content": "c", **fields}) == [expected]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [('{"a":1}', {"a": 1}), (' {"a": 1} ', {"a": 1}), ("", {}), ("{bad", {}), ("[1]", {}), ("null", {}), ("NaN", {})],
)
def test_arguments_of_tool_calls(arguments: str, expected: dict) -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [{**call(arguments), "index": 0}]}
    (calls,) = (message["tool_calls"] for message in shown(message))
    function = {"name": "f", "arguments": expected}
    assert calls == [{"id": "c1", "type": "function", "function": function, "index": 0}]


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        ("d", "system:d"),
        ("ud", "system:d user:u"),
        ("sdu", "system:s\n\nd user:u"),
        ("dsu", "system:d\n\ns user:u"),
        ("sud", "system:s\n\nd user:u"),
        ("sus", "system:s user:u system:s"),
        ("ssud", "system:s\n\ns\n\nd user:u"),
    ],
)
def test_developer_messages_become_one_system_message(roles: str, expected: str) -> None:
    names = {"d": "developer", "s": "system", "u": "user"}
    messages = shown(*({"role": names[letter], "content": letter} for letter in roles))
    assert " ".join(f"{message['role']}:{message['content']}" for message in messages) == expected


def test_fields_of_developer_messages() -> None:
    one = {"role": "developer", "content": "d", "name": "n"}
    assert shown(one) == [{"role": "system", "content": "d", "name": "n"}]
    assert shown(one, one) == [{"role": "system", "content": "d\n\nd"}]
    assert shown(one, keep_developer=True) == [{"role": "developer", "content": "d", "tools": None, "name": "n"}]


@pytest.mark.parametrize(
    ("role", "part", "message"),
    [
        ("user", {"type": "image_url", "image_url": {"url": "u"}}, "tiny is not a multimodal model"),
        ("banana", {"image_url": "u"}, "tiny is not a multimodal model"),
        ("banana", {"type": "image_embeds"}, "The model is not multimodal."),
        ("banana", {"text": "x"}, "Missing 'type' field in multimodal part. (parameter=type)"),
        ("banana", {"type": "text", "text": "x", "uuid": "i"}, "Missing 'type' field in multimodal part."),
        ("banana", {"type": 5}, "Invalid 'type' field in multimodal part. (parameter=type)"),
        ("banana", {"type": "file"}, "Unsupported chat content part type: 'file'. Supported types: audio_embeds,"),
        ("banana", {"type": "text", "text": 5}, "sequence item 0: expected str instance, int found"),
        ("user", {"type": "banana"}, "8 validation errors for ValidatorIterator\n0.ChatCompletionContentPartTextPar"),
        ("banana", {"type": "image_url"}, "1 validation error for ChatCompletionContentPartImageParam\nimage_url\n"),
        ("banana", {"type": "prompt_embeds", "data": "A"}, "You must set `--enable-prompt-embeds` to input"),
    ],
)
def test_refused_parts(role: str, part: dict, message: str) -> None:
    error = chat_refusal(messages=[{"role": role, "content": [part]}])
    assert error.message.startswith(message)
    assert error.type == "BadRequestError"


def arguments_of(limits=LIMITS, **fields: Any) -> dict[str, Any]:
    return template_arguments(validate({"messages": HI, **fields}, ChatCompletionRequest), limits)


def test_template_arguments() -> None:
    assert arguments_of() == {
        "tools": None,
        "documents": None,
        "chat_template": None,
        "add_generation_prompt": True,
        "continue_final_message": False,
    }
    extra = {"enable_thinking": False, "add_generation_prompt": False, "tokenize": True}
    shown = arguments_of(chat_template_kwargs=extra)
    assert (shown["enable_thinking"], shown["add_generation_prompt"]) == (False, True)
    assert "tokenize" not in shown
    shown = arguments_of(reasoning_effort="low")
    assert (shown["reasoning_effort"], shown["enable_thinking"]) == ("low", True)


def test_tools_as_templates_see_them() -> None:
    function = {"name": "f", "parameters": {}, "strict": True, "x": 1}
    tools = arguments_of(tools=[{"function": function, "y": 2}], tool_choice="none")["tools"]
    shown = {"name": "f", "description": None, "parameters": {}, "strict": True}
    assert tools == [{"type": "function", "function": shown}]


def test_default_arguments_of_the_server() -> None:
    limits = dataclasses.replace(LIMITS, default_chat_template_kwargs={"a": 1, "b": 1})
    shown = arguments_of(limits, chat_template_kwargs={"b": 2})
    assert (shown["a"], shown["b"]) == (1, 2)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"messages": []}, "jinja2.environment.Template.render() got multiple values for keyword argument 'messages'"),
        ({"tools": 5}, "'int' object is not iterable"),
        ({"tools": [1]}, "Tools should either be a JSON schema, or a callable function"),
        ({"documents": [1]}, "Documents should be a list of dicts with 'title' and 'text' keys!"),
    ],
)
def test_refused_template_arguments(extra: dict, message: str) -> None:
    assert chat_refusal(chat_template_kwargs=extra).message.startswith(message)
