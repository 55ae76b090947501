"""The official anthropic SDK against the real server: text, system, tools, thinking, streams, counts, errors."""

import asyncio
from typing import Any

import anthropic
import pytest
from server import INSTANT, TINY, Server, ServerPool

QUESTION: list[Any] = [{"role": "user", "content": "Say this is a test!"}]
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather of a place",
    "input_schema": {
        "type": "object",
        "properties": {"place": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
        "required": ["place", "days"],
    },
}
TOOLS = ("--enable-auto-tool-choice", "--tool-call-parser", "hermes")
THINKING = ("--reasoning-parser", "deepseek_r1")
# One character is one token here, so what is counted can be foreseen.
CHARACTERS = (*TINY, *INSTANT)


def sdk(server: Server) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=server.base_url, auth_token="none", max_retries=0, timeout=30)


@pytest.fixture
def client(servers: ServerPool) -> anthropic.Anthropic:
    return sdk(servers.get(*INSTANT))


@pytest.fixture
def tools(servers: ServerPool) -> anthropic.Anthropic:
    return sdk(servers.get(*INSTANT, *TOOLS, *THINKING))


def ask(client: anthropic.Anthropic, **fields: Any) -> Any:
    return client.messages.create(**{"model": "llama2-7b", "messages": QUESTION, "max_tokens": 400, **fields})


def test_text(client: anthropic.Anthropic) -> None:
    answer = ask(client)
    (block,) = answer.content
    assert (answer.type, answer.role, answer.model, block.type) == ("message", "assistant", "llama2-7b", "text")
    assert block.text
    assert answer.stop_reason == "end_turn"
    assert answer.usage.output_tokens > 0


def test_an_answer_that_is_cut(client: anthropic.Anthropic) -> None:
    answer = ask(client, max_tokens=3)
    assert (answer.stop_reason, answer.usage.output_tokens) == ("max_tokens", 3)


def test_system_prompts_count(servers: ServerPool) -> None:
    client = sdk(servers.get(*CHARACTERS))

    def count(**fields: Any) -> int:
        return client.messages.count_tokens(model="tiny", messages=QUESTION, **fields).input_tokens

    alone = count()
    # The role's token and the text.
    assert count(system="Be kind.") == alone + 1 + len("Be kind.")
    assert count(system=[{"type": "text", "text": "Be "}, {"type": "text", "text": "kind."}]) == count(
        system="Be kind."
    )
    answer = ask(client, model="tiny", max_tokens=2, system="Be kind.")
    assert answer.usage.input_tokens == count(system="Be kind.")


def test_stop_sequences(servers: ServerPool) -> None:
    client = sdk(servers.get(*CHARACTERS, "--mode", "echo"))
    fields: dict[str, Any] = {"model": "tiny", "max_tokens": 50, "stop_sequences": ["zzz", "is"]}
    answer = ask(client, **fields)
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "is")
    assert answer.content[0].text == "Say th"
    with client.messages.stream(messages=QUESTION, **fields) as stream:
        assert "".join(stream.text_stream) == "Say th"
        final = stream.get_final_message()
    assert (final.stop_reason, final.stop_sequence) == ("stop_sequence", "is")
    assert final.usage.output_tokens == answer.usage.output_tokens


def test_stream(client: anthropic.Anthropic) -> None:
    whole = ask(client)
    with client.messages.stream(model="llama2-7b", messages=QUESTION, max_tokens=400) as stream:
        events = list(stream)
        final = stream.get_final_message()
    kinds = [event.type for event in events]
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert final.content[0].text
    assert final.usage.input_tokens == whole.usage.input_tokens


def test_two_streams_at_once(servers: ServerPool) -> None:
    server = servers.get(*INSTANT)

    async def both() -> list[str]:
        client = anthropic.AsyncAnthropic(base_url=server.base_url, auth_token="none", max_retries=0, timeout=30)

        async def one() -> str:
            async with client.messages.stream(model="llama2-7b", messages=QUESTION, max_tokens=20) as stream:
                return "".join([text async for text in stream.text_stream])

        return await asyncio.gather(one(), one())

    assert all(asyncio.run(both()))


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
def test_a_tool_that_must_be_called(tools: anthropic.Anthropic, choice: Any) -> None:
    answer = ask(tools, tools=[WEATHER], tool_choice=choice)
    call = answer.content[-1]
    assert (call.type, call.name, answer.stop_reason) == ("tool_use", "get_weather", "tool_use")
    assert isinstance(call.input["place"], str)
    assert 1 <= call.input["days"] <= 7


def test_a_streamed_tool_call_and_its_result(tools: anthropic.Anthropic) -> None:
    request: dict[str, Any] = {"model": "llama2-7b", "max_tokens": 400, "tools": [WEATHER]}
    with tools.messages.stream(messages=QUESTION, tool_choice={"type": "any"}, **request) as stream:
        first = stream.get_final_message()
    call = first.content[-1]
    assert call.type == "tool_use"
    assert set(call.input) == {"place", "days"}
    history = [
        *QUESTION,
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}]},
    ]
    second = ask(tools, messages=history, tools=[WEATHER])
    assert second.stop_reason == "end_turn"
    assert [block.type for block in second.content][-1] == "text"


def test_thinking(tools: anthropic.Anthropic) -> None:
    answer = ask(tools, max_tokens=3000, thinking={"type": "enabled", "budget_tokens": 1024})
    thinking, text = answer.content
    assert (thinking.type, text.type) == ("thinking", "text")
    assert thinking.thinking
    assert len(thinking.signature) == 32
    with tools.messages.stream(
        model="llama2-7b", messages=QUESTION, max_tokens=3000, thinking={"type": "enabled", "budget_tokens": 1024}
    ) as stream:
        final = stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "text"]
    assert len(final.content[0].signature) == 32


def test_cached_tokens_are_no_input_tokens(servers: ServerPool) -> None:
    client = sdk(servers.get(*CHARACTERS, "--enable-prompt-tokens-details"))
    long: list[Any] = [{"role": "user", "content": "a" * 70}]
    first, second = (ask(client, model="tiny", messages=long, max_tokens=1).usage for _ in range(2))
    assert (first.input_tokens, first.cache_creation_input_tokens, first.cache_read_input_tokens) == (8, 64, 0)
    assert (second.input_tokens, second.cache_creation_input_tokens, second.cache_read_input_tokens) == (8, 0, 64)


def test_errors(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as unknown:
        ask(client, model="nope")
    assert unknown.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]
    with pytest.raises(anthropic.BadRequestError, match="temperature must be in"):
        ask(client, extra_body={"temperature": 5})
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    with pytest.raises(anthropic.BadRequestError, match="is not a multimodal model"):
        ask(client, messages=[{"role": "user", "content": [image]}])


def test_keys(servers: ServerPool) -> None:
    guarded = servers.get(*INSTANT, "--api-key", "k1")
    ask(anthropic.Anthropic(base_url=guarded.base_url, auth_token="k1", max_retries=0, timeout=30), max_tokens=1)
    with pytest.raises(anthropic.AuthenticationError):
        ask(sdk(guarded))
    # vLLM does not know this header, which Anthropic's API and older SDKs use.
    body = {"model": "llama2-7b", "messages": QUESTION, "max_tokens": 1}
    assert guarded.post("/v1/messages", body, {"x-api-key": "k1"}).status == 401


def test_a_full_queue_is_an_overload(servers: ServerPool) -> None:
    server = servers.get(*CHARACTERS, "--max-num-queued-reqs", "0")
    with pytest.raises(anthropic.APIStatusError) as refused:
        ask(sdk(server), model="tiny", messages=[{"role": "user", "content": "a" * 100}], max_tokens=1)
    assert refused.value.status_code == 503
    assert refused.value.body["error"]["type"] == "overloaded_error"  # type: ignore[index]


def test_an_error_after_the_headers_is_an_event(servers: ServerPool) -> None:
    server = servers.get(*CHARACTERS)
    body = {
        "model": "tiny",
        "max_tokens": 5,
        "stream": True,
        "messages": QUESTION,
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "banana"}}},
    }
    reply = server.post("/v1/messages", body, {"Content-Type": "application/json"})
    assert reply.status == 200
    (event,) = reply.events()
    assert event.startswith(b'event: error\ndata: {"type":"error","error":{"type":"invalid_request_error","message":')
