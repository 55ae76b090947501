"""Calls of tools through the openai SDK: which tool, valid arguments, streams, several calls, results, forced calls."""

import json
from collections.abc import Iterable
from typing import Any, Literal

import openai
import pydantic
import pytest
from server import INSTANT, ServerPool

MODEL = "llama2-7b"
FLAGS = (*INSTANT, "--enable-auto-tool-choice", "--tool-call-parser", "hermes")


def tool(name: str, description: str, properties: dict[str, Any], required: Iterable[str] = ()) -> Any:
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


WEATHER = tool(
    "get_weather",
    "The forecast for a city",
    {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}, "days": {"type": "integer"}},
    ("city", "unit", "days"),
)
CLOCK = tool("read_clock", "What time it is", {"zone": {"type": "string"}}, ("zone",))
NAMED: Any = {"type": "function", "function": {"name": "read_clock"}}


@pytest.fixture
def client(servers: ServerPool) -> openai.OpenAI:
    return servers.get(*FLAGS).openai()


def ask(client: openai.OpenAI, text: str = "How is the weather in Paris?", **parameters: Any) -> Any:
    parameters.setdefault("messages", [{"role": "user", "content": text}])
    answer = client.chat.completions.create(model=MODEL, tools=[WEATHER, CLOCK], **parameters)
    return answer.choices[0]


def streamed_message(client: openai.OpenAI, text: str, **parameters: Any) -> Any:
    messages: Any = [{"role": "user", "content": text}]
    with client.chat.completions.stream(model=MODEL, messages=messages, tools=[WEATHER, CLOCK], **parameters) as stream:
        return stream.get_final_completion().choices[0]


def called(choice: Any) -> list[tuple[str, Any]]:
    return [(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls or ()]


def test_the_tool_that_the_question_names_is_called(client: openai.OpenAI) -> None:
    choice = ask(client)
    ((name, arguments),) = called(choice)
    assert name == "get_weather"
    assert arguments.keys() == {"city", "unit", "days"}
    assert arguments["unit"] in ("celsius", "fahrenheit")
    assert type(arguments["days"]) is int
    assert choice.message.content is None
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls[0].id.startswith("chatcmpl-tool-")


@pytest.mark.parametrize("choice", ["auto", "required", NAMED])
def test_a_stream_adds_up_to_the_answer_in_one_piece(client: openai.OpenAI, choice: Any) -> None:
    text = "How is the weather, and what does the clock say?"
    for seed in range(4):
        whole = ask(client, text, seed=seed, tool_choice=choice)
        streamed = streamed_message(client, text, seed=seed, tool_choice=choice)
        assert called(streamed) == called(whole)
        assert streamed.finish_reason == whole.finish_reason == ("stop" if choice is NAMED else "tool_calls")


def test_the_result_of_a_tool_leads_to_a_text(client: openai.OpenAI) -> None:
    question = {"role": "user", "content": "How is the weather?"}
    message = ask(client, messages=[question]).message
    call = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}
    choice = ask(client, messages=[question, message.model_dump(exclude_none=True), call])
    assert choice.message.tool_calls is None
    assert choice.message.content
    assert choice.finish_reason in ("stop", "length")
    # The next question may be answered with a call again.
    again = [question, message.model_dump(exclude_none=True), call, choice.message.model_dump(), question]
    assert called(ask(client, messages=again))


def test_tool_choice(client: openai.OpenAI) -> None:
    none = ask(client, tool_choice="none")
    assert none.message.tool_calls is None
    assert none.message.content
    required = ask(client, "Hello!", tool_choice="required")
    assert required.finish_reason == "tool_calls"
    assert len(called(required)) == 1
    assert required.message.content == ""
    named = ask(client, tool_choice=NAMED)
    assert [name for name, _ in called(named)] == ["read_clock"]
    assert named.finish_reason == "stop"


def test_several_calls_where_the_question_names_several_tools(client: openai.OpenAI) -> None:
    text = "How is the weather, and what does the clock say?"
    counts = {len(called(ask(client, text, seed=seed))) for seed in range(12)}
    assert counts == {1, 2}
    alone = [called(ask(client, text, seed=seed, parallel_tool_calls=False)) for seed in range(12)]
    assert {len(calls) for calls in alone} == {1}


def test_a_seed_fixes_the_calls(client: openai.OpenAI) -> None:
    first, second = (called(ask(client, "weather or clock", seed=5)) for _ in range(2))
    assert first == second
    assert len({json.dumps(called(ask(client, seed=seed))) for seed in range(5)}) > 1


def test_a_call_that_is_cut_off_is_text(client: openai.OpenAI) -> None:
    choice = ask(client, max_tokens=6)
    assert choice.finish_reason == "length"
    assert choice.message.tool_calls is None
    assert choice.message.content.startswith("<tool_call>")


def test_tools_are_hidden_from_the_template(servers: ServerPool) -> None:
    messages = [{"role": "user", "content": "weather"}]
    bare = {"messages": messages, "max_tokens": 1}
    requests = (bare, {**bare, "tools": [WEATHER], "tool_choice": "none"}, {**bare, "tools": [WEATHER]})
    lengths = [
        servers.get(*flags).post("/v1/chat/completions", request).json()["usage"]["prompt_tokens"]
        for flags in (FLAGS, (*FLAGS, "--exclude-tools-when-tool-choice-none"))
        for request in requests
    ]
    plain, shown = lengths[0], lengths[1]
    assert plain < shown
    assert lengths == [plain, shown, shown, plain, plain, shown]


def test_tools_without_arguments(client: openai.OpenAI) -> None:
    bare: Any = {"type": "function", "function": {"name": "ping"}}
    answer = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "ping"}], tools=[bare], tool_choice="required"
    )
    assert called(answer.choices[0]) == [("ping", {})]


class Booking(pydantic.BaseModel):
    """Book a table."""

    guests: int
    name: Literal["Ada", "Grace"]
    dishes: list[str]


def test_arguments_as_a_pydantic_model(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(
        model=MODEL,
        messages=[{"role": "user", "content": "Book a table"}],
        tools=[openai.pydantic_function_tool(Booking)],
        tool_choice="required",
    )
    (call,) = answer.choices[0].message.tool_calls or ()
    assert isinstance(call.function.parsed_arguments, Booking)
    assert call.function.parsed_arguments.name in ("Ada", "Grace")


def test_a_structured_answer_takes_the_place_of_a_call(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(
        model=MODEL,
        messages=[{"role": "user", "content": "Book a table"}],
        tools=[openai.pydantic_function_tool(Booking)],
        response_format=Booking,
    )
    assert answer.choices[0].message.tool_calls is None
    assert isinstance(answer.choices[0].message.parsed, Booking)


def test_tool_choice_null_calls_nothing(client: openai.OpenAI) -> None:
    for seed in range(4):
        choice = ask(client, seed=seed, extra_body={"tool_choice": None})
        assert choice.message.tool_calls is None
        assert choice.message.content
        assert choice.finish_reason == "stop"
