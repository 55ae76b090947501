"""/v1/responses: recorded answers of vLLM 0.33.0, and the openai SDK."""

import json
import re
from typing import Any

import openai
import pydantic
import pytest
import requests
from server import INSTANT, ROOT, TINY, Server, ServerPool
from waiting_support import eventually

CAPTURES = ROOT / "tests" / "contract" / "responses"
SHORT = ("--output-tokens-mean", "3", "--output-tokens-std-dev", "0")
SECOND = (
    *("--tokenizer", TINY[1], "--served-model-name", "tiny", "--max-model-len", "512", *INSTANT, "--mode", "echo"),
    *("--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--reasoning-parser", "deepseek_r1"),
    "--enable-prompt-tokens-details",
)
STORE = {"VLLM_ENABLE_RESPONSES_API_STORE": "1"}
# What the recording's engine was made to say to "hello".
SAID = '<think>why</think>ok<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>'
# The echo mode repeats it; the end of the prompt must not look like the end of a reasoning.
INPUT = [{"role": "user", "content": SAID}, {"role": "assistant", "content": "<think>"}]
FUNCTION = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def load(name: str) -> tuple[str, str, Any, int, str]:
    """Method, path, body, status and answer of a recording."""
    text = (CAPTURES / f"{name}.txt").read_text()
    head, _, answer = text.partition("\n\n")
    lines = head.splitlines()
    method, path = lines[0].removeprefix(">>> ").split(" ", 1)
    body = next((json.loads(line[4:]) for line in lines[1:] if line.startswith(">>> {")), None)
    status = next(int(line.split()[1]) for line in lines if line.startswith("HTTP/"))
    return method, path, body, status, answer.strip()


def normal(text: str) -> str:
    """An answer without what no two answers share, and without what the engine made up."""
    text = re.sub(r"(resp|msg|fc|rs)_[0-9a-f]{16}", r"\1_ID", text)
    text = re.sub(r"chatcmpl-tool-[0-9a-f]{16}", "chatcmpl-tool-ID", text)
    text = re.sub(r'"created_at":\d+', '"created_at":0', text)
    return re.sub(r'"(input_tokens|output_tokens|total_tokens|max_output_tokens|cached_tokens)":\d+', r'"\1":0', text)


def ask(server: Server, method: str, path: str, body: Any) -> tuple[int, str]:
    answer = requests.request(method, server.base_url + path, json=body, timeout=30)
    return answer.status_code, answer.text.strip()


@pytest.mark.parametrize(
    "name", ["resp_bg", "resp_cancel404", "resp_get404", "resp_getbad", "resp_missing", "resp_prev"]
)
def test_recorded_refusals(name: str, servers: ServerPool) -> None:
    method, path, body, status, answer = load(name)
    assert ask(servers.get(*TINY, *INSTANT, *SHORT), method, path, body) == (status, answer)


@pytest.mark.parametrize("name", ["resp", "resp_stream"])
def test_recorded_answers(name: str, servers: ServerPool) -> None:
    method, path, body, status, answer = load(name)
    server = servers.get(*TINY, *INSTANT, "--mode", "echo")
    found = ask(server, method, path, {**body, "input": "Hi"})
    assert (found[0], normal(found[1])) == (status, normal(answer))


@pytest.mark.parametrize("name", ["s2_resp_store", "s2_resp_bg", "s2_resp_tools_stream"])
def test_recorded_answers_with_parsers_and_a_store(name: str, servers: ServerPool) -> None:
    method, path, body, status, answer = load(name)
    found = ask(servers.get(*SECOND, environ=STORE), method, path, {**body, "input": INPUT})
    assert (found[0], normal(found[1])) == (status, normal(answer))


def test_recorded_reading_and_cancelling_of_a_response_in_the_background(servers: ServerPool) -> None:
    server = servers.get(*SECOND, environ=STORE)
    body = {**load("s2_resp_bg")[2], "input": INPUT}
    path = "/v1/responses/" + json.loads(ask(server, "POST", "/v1/responses", body)[1])["id"]
    eventually(lambda: json.loads(ask(server, "GET", path, None)[1])["status"] == "completed")
    for name, end in (("s2_resp_get", ""), ("s2_resp_cancel", "/cancel")):
        method, _, _, status, answer = load(name)
        found = ask(server, method, path + end, None)
        assert (found[0], normal(found[1])) == (status, normal(answer))


@pytest.fixture
def client(servers: ServerPool) -> openai.OpenAI:
    flags = ("--enable-auto-tool-choice", "--tool-call-parser", "hermes")
    return servers.get(*INSTANT, *flags, environ={**STORE, "MODEL_NAME": "m"}).openai()


def test_text_usage_and_store(client: openai.OpenAI) -> None:
    response = client.responses.create(model="m", input="Tell me about rivers.", instructions="Be brief.")
    assert response.status == "completed"
    assert len(response.output_text) > 10
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    assert client.responses.retrieve(response.id).output_text == response.output_text
    following = client.responses.create(model="m", input="And lakes?", previous_response_id=response.id)
    assert following.previous_response_id == response.id
    assert following.usage is not None
    # The prompt holds what was said before.
    assert following.usage.input_tokens > response.usage.output_tokens
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="m", input="x", previous_response_id="resp_0123456789abcdef")


def test_reasoning_that_is_cut_or_hidden(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, "--mode", "echo", "--reasoning-parser", "deepseek_r1")
    client = server.openai()
    stream = client.responses.create(model="tiny", input="wondering", max_output_tokens=3, stream=True)
    *_, done, last = stream
    assert done.type == "response.output_item.done"
    assert last.type == "response.incomplete"
    assert [item.status for item in (done.item, *last.response.output)] == ["incomplete"] * 2  # type: ignore[union-attr]
    hidden = client.responses.create(model="tiny", input="wondering", extra_body={"include_reasoning": False})
    assert hidden.output == []


def test_greedy_sampling_shows_no_top_p(client: openai.OpenAI) -> None:
    for temperature, shown in ((0, 1.0), (0.5, 0.3)):
        response = client.responses.create(
            model="m", input="a", temperature=temperature, top_p=0.3, max_output_tokens=1
        )
        assert response.top_p == shown


def test_a_message_of_no_parts_is_stored(client: openai.OpenAI) -> None:
    empty: Any = [{"role": "user", "content": []}]
    response = client.responses.create(model="m", input=empty, max_output_tokens=3)
    following = client.responses.create(model="m", input="Go on.", previous_response_id=response.id)
    assert following.previous_response_id == response.id
    assert client.responses.create(model="m", input="Go on.", previous_response_id="").previous_response_id == ""


def test_a_bounded_answer_is_incomplete(client: openai.OpenAI) -> None:
    response = client.responses.create(model="m", input="x", max_output_tokens=3)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    with pytest.raises(openai.BadRequestError, match="max_output_tokens=100000 cannot be greater"):
        client.responses.create(model="m", input="x", max_output_tokens=100000)


def test_stream_events_make_up_the_response(client: openai.OpenAI) -> None:
    events = list(client.responses.create(model="m", input="Hello", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == text
    with client.responses.stream(model="m", input="Hello") as stream:
        assert len(stream.get_final_response().output_text) > 10


def test_functions_are_called_and_their_results_answered(client: openai.OpenAI) -> None:
    tools: Any = [{"type": "function", "name": "weather", "parameters": FUNCTION, "strict": True}]
    asked: list[Any] = [{"role": "user", "content": "What is the weather in Oslo?"}]
    response = client.responses.create(model="m", input=asked, tools=tools)
    call = response.output[0]
    assert call.type == "function_call"
    assert isinstance(json.loads(call.arguments)["city"], str)
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    answered = client.responses.create(model="m", input=[*asked, call.model_dump(), result], tools=tools)
    assert answered.output[0].type == "message"
    streamed = list(client.responses.create(model="m", input=asked, tools=tools, stream=True))
    deltas = [event.delta for event in streamed if event.type == "response.function_call_arguments.delta"]
    done = next(event for event in streamed if event.type == "response.function_call_arguments.done")
    assert "".join(deltas) == done.arguments


@pytest.mark.parametrize(
    "item",
    [
        {"type": "reasoning", "summary": []},
        {"role": "assistant", "type": "message", "content": [{"type": "output_text", "text": "before"}]},
        {"type": "custom_tool_call", "call_id": "c", "name": "grep", "input": "-r x"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "found"},
    ],
)
def test_items_may_lack_what_only_answers_have(item: Any, client: openai.OpenAI) -> None:
    items: Any = [{"role": "user", "content": "hi"}, item]
    assert client.responses.create(model="m", input=items, max_output_tokens=2).status == "incomplete"


def test_tools_that_openai_hosts_are_repeated_and_never_called(client: openai.OpenAI) -> None:
    tools: Any = [{"type": "web_search_preview"}, {"type": "mcp", "server_label": "x"}]
    choice: Any = {"type": "web_search_preview"}
    response = client.responses.create(model="m", input="hi", tools=tools, tool_choice=choice)
    assert response.output[0].type == "message"
    shown = response.model_dump()
    assert shown["tool_choice"] == choice
    # All fields of their types, null where the client did not say.
    assert shown["tools"][0].items() >= {"type": "web_search_preview", "user_location": None}.items()
    assert shown["tools"][1]["require_approval"] is None


def test_structured_output(client: openai.OpenAI) -> None:
    class City(pydantic.BaseModel):
        name: str
        inhabitants: int

    parsed = client.responses.parse(model="m", input="A city, please.", text_format=City)
    assert isinstance(parsed.output_parsed, City)


def test_log_probabilities(client: openai.OpenAI) -> None:
    include: Any = ["message.output_text.logprobs"]
    response = client.responses.create(model="m", input="x", include=include, top_logprobs=2, max_output_tokens=4)
    part = response.output[0].content[0]  # type: ignore[union-attr, index]
    assert len(part.logprobs) == 4
    assert all(len(entry.top_logprobs) == 2 for entry in part.logprobs)


def test_background_responses(servers: ServerPool) -> None:
    flags = (*TINY, "--time-to-first-token", "20", "--inter-token-latency", "30", "--prefill-time-per-token", "0")
    server = servers.get(*flags, environ=STORE)
    client = server.openai()
    extra = {"ignore_eos": True}

    def status(response_id: str) -> str | None:
        return client.responses.retrieve(response_id).status

    done = client.responses.create(model="tiny", input="x", background=True, max_output_tokens=5, extra_body=extra)
    assert done.status == "queued"
    eventually(lambda: status(done.id) == "incomplete")
    assert len(client.responses.retrieve(done.id).output_text) == 5
    with pytest.raises(openai.BadRequestError, match="Cannot cancel a synchronous response"):
        client.responses.cancel(done.id)

    long = client.responses.create(model="tiny", input="x", background=True, max_output_tokens=200, extra_body=extra)
    assert client.responses.cancel(long.id).status == "cancelled"
    eventually(lambda: server.gauge("vllm:num_requests_running") == 0)
    assert status(long.id) == "cancelled"

    stream = client.responses.create(
        model="tiny", input="x", background=True, stream=True, max_output_tokens=20, extra_body=extra
    )
    first = [next(iter(stream)) for _ in range(5)]
    stream.close()
    # It goes on without its reader, who comes back for the rest.
    response_id = first[0].response.id  # type: ignore[union-attr]
    rest = list(client.responses.retrieve(response_id, stream=True, starting_after=first[-1].sequence_number))
    assert [event.sequence_number for event in rest] == list(range(5, 5 + len(rest)))
    assert rest[-1].type == "response.incomplete"
    assert status(response_id) == "incomplete"
