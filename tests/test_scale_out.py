"""The scale-out API: what is rendered, generated and derendered in three requests is what one request gives."""

import json
from typing import Any

import pytest
from server import INSTANT, TINY, Server, ServerPool

SCALE_OUT = ("/models/tiny", *TINY, *INSTANT, "--enable-scale-out")
PARSERS = ("--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--reasoning-parser", "deepseek_r1")
GENERATE = "/inference/v1/generate"
CHAT = "/v1/chat/completions"
TOOL = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}},
}


@pytest.fixture
def server(servers: ServerPool) -> Server:
    return servers.get(*SCALE_OUT)


@pytest.fixture
def parsing(servers: ServerPool) -> Server:
    """With an embedded tokenizer, so that all markup fits into an answer."""
    return servers.get("/models/tiny", "--served-model-name", "tiny", *INSTANT, "--enable-scale-out", *PARSERS)


def answer(server: Server, path: str, body: Any) -> Any:
    reply = server.post(path, body)
    assert reply.status == 200, reply.body
    return reply.json()


def chat(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hi"}], "seed": 3, "max_tokens": 40, **fields}


def test_three_requests_are_as_good_as_one(server: Server) -> None:
    rendered = answer(server, f"{CHAT}/render", chat())
    generated = answer(server, GENERATE, rendered)
    assert generated["request_id"] == f"generate-tokens-{rendered['request_id']}"
    whole = answer(server, f"{CHAT}/derender", {"generate_response": generated, "chat_request": chat()})
    one = answer(server, CHAT, chat())
    assert whole["choices"] == one["choices"]
    assert whole["usage"]["completion_tokens"] == one["usage"]["completion_tokens"]
    assert generated["usage"] == one["usage"]


def test_completions_too(server: Server) -> None:
    request = {"prompt": ["Once", "Twice"], "seed": 3, "max_tokens": 20}
    generated = [answer(server, GENERATE, one) for one in answer(server, "/v1/completions/render", request)]
    whole = answer(server, "/v1/completions/derender", {"generate_responses": generated})
    one = answer(server, "/v1/completions", request)
    assert [choice["text"] for choice in whole["choices"]] == [choice["text"] for choice in one["choices"]]


def test_anthropic_messages_are_rendered_as_the_chat_they_mean(server: Server) -> None:
    message = {"model": "tiny", "system": "Be kind.", "max_tokens": 4, "messages": [{"role": "user", "content": "hi"}]}
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}]
    rendered = answer(server, "/v1/messages/render", message)
    assert rendered["token_ids"] == answer(server, f"{CHAT}/render", {"messages": messages})["token_ids"]
    assert rendered["sampling_params"]["max_tokens"] == 4


def test_responses_are_rendered(server: Server) -> None:
    rendered = answer(server, "/v1/responses/render", {"input": "hi", "max_output_tokens": 5})
    assert rendered["request_id"].startswith("resp_")
    assert rendered["token_ids"] == answer(server, f"{CHAT}/render", chat())["token_ids"]
    assert rendered["sampling_params"]["max_tokens"] == 5
    refused = server.post("/v1/responses/render", {"input": "hi", "previous_response_id": "resp_x"})
    assert (refused.status, refused.json()["error"]["param"]) == (400, "previous_response_id")


def test_a_call_of_a_tool_survives(parsing: Server) -> None:
    request = chat(tools=[TOOL], tool_choice="required", max_tokens=400)
    generated = answer(parsing, GENERATE, answer(parsing, f"{CHAT}/render", request))
    (choice,) = answer(parsing, f"{CHAT}/derender", {"generate_response": generated, "chat_request": request})[
        "choices"
    ]
    (call,) = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "f"
    assert isinstance(json.loads(call["function"]["arguments"]), dict)
    assert choice["message"]["reasoning"]
    refused = parsing.post(f"{CHAT}/derender", {"generate_response": generated})
    assert (refused.status, refused.json()["error"]["type"]) == (400, "BadRequestError")


def test_the_mode_derender_gives_the_message_at_once(parsing: Server) -> None:
    request = chat(tools=[TOOL], tool_choice="required", max_tokens=400)
    rendered = answer(parsing, f"{CHAT}/render", request) | {"output_mode": "derender"}
    (choice,) = answer(parsing, GENERATE, rendered)["choices"]
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "f"


@pytest.mark.parametrize("parsers", [False, True])
def test_a_stream_is_derendered_chunk_by_chunk(server: Server, parsing: Server, parsers: bool) -> None:
    server = parsing if parsers else server
    request = chat(max_tokens=60, stream=True)
    chunks = server.post(GENERATE, answer(server, f"{CHAT}/render", request)).chunks()
    deltas, state = [], None
    for chunk in chunks:
        body = {"stream": True, "generate_chunk": chunk, "stream_state": state, "chat_request": request}
        derendered = answer(server, f"{CHAT}/derender", body)
        deltas.append(derendered["chunk"]["choices"][0])
        state = derendered["stream_state"]
    assert deltas[0]["delta"]["role"] == "assistant"
    assert {delta["delta"]["role"] for delta in deltas[1:]} == {None}
    whole = answer(server, f"{CHAT}/derender", {"generate_response": _joined(chunks), "chat_request": request})
    message = whole["choices"][0]["message"]
    for part in ("content", "reasoning"):
        assert "".join(delta["delta"][part] or "" for delta in deltas) == (message[part] or "")
    assert deltas[-1]["finish_reason"] == whole["choices"][0]["finish_reason"]


def _joined(chunks: list[Any]) -> dict[str, Any]:
    choices = [chunk["choices"][0] for chunk in chunks]
    ids = [token_id for choice in choices for token_id in choice["token_ids"]]
    return {"choices": [{"index": 0, "token_ids": ids, "finish_reason": choices[-1]["finish_reason"]}]}


def test_characters_of_several_bytes_wait_until_they_are_complete(server: Server) -> None:
    ids = server.post("/tokenize", {"prompt": "é☃", "add_special_tokens": False}).json()["tokens"]
    assert len(ids) == 5
    texts, state = [], None
    for token_id in ids:
        chunk = {"request_id": "r", "choices": [{"index": 0, "token_ids": [token_id]}]}
        body = {"stream": True, "generate_chunk": chunk, "stream_state": state}
        derendered = answer(server, "/v1/completions/derender", body)
        texts.append(derendered["chunk"]["choices"][0]["text"])
        state = derendered["stream_state"]
    assert texts == ["", "é", "", "", "☃"]


def test_text_and_logprobs_of_a_generate_stream(server: Server) -> None:
    body = {
        "token_ids": [39, 68],
        "sampling_params": {"max_tokens": 3, "ignore_eos": True, "logprobs": 2},
        "output_mode": "text",
        "stream": True,
        "return_token_ids": True,
        "stream_options": {"include_usage": True},
    }
    *chunks, usage = server.post(GENERATE, body).chunks()
    assert [("prompt_token_ids" in chunk) for chunk in chunks] == [True, False, False]
    assert chunks[0]["prompt_token_ids"] == [39, 68]
    assert all(len(chunk["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 2 for chunk in chunks)
    assert usage["usage"] == {"prompt_tokens": 2, "total_tokens": 5, "completion_tokens": 3}


def test_requests_to_abort_are_named(server: Server) -> None:
    assert server.post("/inference/v1/abort_requests", {"request_ids": ["nobody"]}).status == 200
    assert server.post("/inference/v1/abort_requests", {}).status == 400


def test_the_routes_are_closed_by_default_and_open_for_tokens_only(servers: ServerPool) -> None:
    closed, opened = servers.get("/models/tiny", *TINY, *INSTANT), servers.get(*SCALE_OUT[:-1], "--tokens-only")
    paths = [f"{CHAT}/render", "/v1/completions/render", "/v1/messages/render", "/v1/responses/render"]
    paths += [f"{CHAT}/derender", "/v1/completions/derender", GENERATE, "/inference/v1/abort_requests"]
    for path in paths:
        refused = closed.post(path, {})
        assert (refused.status, refused.json()["error"]["type"]) == (403, "PermissionDeniedError")
        assert opened.post(path, {}).status == 400
