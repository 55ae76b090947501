"""Batches of conversations, generative scoring, and SageMaker's /invocations, over real sockets."""

import math
from typing import Any

import pytest
from server import INSTANT, TINY, Server, ServerPool

CHARACTERS = ("/models/tiny", *TINY, *INSTANT)
BATCH = "/v1/chat/completions/batch"


@pytest.fixture
def server(servers: ServerPool) -> Server:
    return servers.get(*CHARACTERS)


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def answer(server: Server, path: str, body: Any) -> Any:
    reply = server.post(path, body)
    assert reply.status == 200, reply.body
    return reply.json()


def test_a_choice_per_conversation(servers: ServerPool) -> None:
    server = servers.get(*CHARACTERS, "--mode", "echo")
    texts = ["first", "second one", "third"]
    batch = answer(server, BATCH, {"messages": [said(text) for text in texts], "logprobs": True, "max_tokens": 50})
    choices = batch["choices"]
    assert [choice["message"]["content"] for choice in choices] == texts
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    # A token per character, the end of the text, and the roles' two tokens in front of and behind each prompt.
    assert [len(choice["logprobs"]["content"]) for choice in choices] == [len(text) + 1 for text in texts]
    usage = batch["usage"]
    assert usage["completion_tokens"] == sum(len(text) + 1 for text in texts)
    assert usage["prompt_tokens"] == sum(len(text) + 2 for text in texts)


def test_a_batch_is_answered_like_its_conversations(server: Server) -> None:
    request = {"max_tokens": 20, "seed": 7}
    batch = answer(server, BATCH, {**request, "messages": [said("one"), said("two")]})
    alone = [answer(server, "/v1/chat/completions", {**request, "messages": said(text)}) for text in ("one", "two")]
    assert [choice["message"] for choice in batch["choices"]] == [one["choices"][0]["message"] for one in alone]


def test_what_was_cached_is_told_neither_of_a_batch_nor_of_a_beam_search(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, "--block-size", "4", "--enable-prompt-tokens-details")
    chat, request = "/v1/chat/completions", {"max_tokens": 2, "messages": said("hi")}
    assert answer(server, BATCH, {**request, "messages": [said("hi")]})["usage"]["prompt_tokens_details"] is None
    assert answer(server, chat, {**request, "use_beam_search": True})["usage"]["prompt_tokens_details"] is None
    assert answer(server, chat, request)["usage"]["prompt_tokens_details"] is not None


def test_reasoning_is_not_counted_in_a_batch(servers: ServerPool) -> None:
    server = servers.get(*CHARACTERS, "--reasoning-parser", "deepseek_r1")
    batch = answer(server, BATCH, {"messages": [said("hi")], "max_tokens": 20})
    assert batch["choices"][0]["message"]["reasoning"]
    assert batch["usage"]["completion_tokens_details"] is None


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_a_beam_search_knows_no_structure(server: Server, path: str) -> None:
    schema = {"name": "n", "schema": {"$ref": "#/nope"}}
    fields = {"response_format": {"type": "json_schema", "json_schema": schema}, "use_beam_search": True}
    asked = {"prompt": "hi"} if path == "/v1/completions" else {"messages": said("hi")}
    body = {**asked, **fields, "structured_outputs": {"json_object": True}, "max_tokens": 2}
    assert answer(server, path, body)["usage"]["completion_tokens"] == 2
    assert server.post(path, {**body, "use_beam_search": False}).status == 400


def test_a_batch_is_never_a_stream(server: Server) -> None:
    batch = answer(server, BATCH, {"messages": [said("hi")], "max_tokens": 2, "stream": True})
    assert batch["usage"]["completion_tokens"] == 2


def test_scores_add_up_and_repeat(server: Server) -> None:
    def scores(labels: list[int], **fields: Any) -> list[float]:
        body = {"query": "Is it ", "items": ["wet?", "dry?"], "label_token_ids": labels, **fields}
        return [entry["score"] for entry in answer(server, "/generative_scoring", body)["data"]]

    first, second = scores([65, 66]), scores([66, 65])
    assert all(math.isclose(a + b, 1.0) for a, b in zip(first, second, strict=True))
    assert first[0] != first[1]
    assert scores([65, 66]) == first
    assert scores([65]) == [1.0, 1.0]
    # Without the softmax it is the probability among all tokens, whatever the other labels are.
    assert scores([65, 66], apply_softmax=False) == scores([65], apply_softmax=False)
    assert all(0 < score < 1 for score in scores([65], apply_softmax=False))


def test_items_come_before_or_behind_the_query(server: Server) -> None:
    def first(query: str, item: str, item_first: bool) -> float:
        body = {"query": query, "items": [item], "label_token_ids": [65, 66], "item_first": item_first}
        return answer(server, "/generative_scoring", body)["data"][0]["score"]

    assert first("a", "b", False) == first("b", "a", True) != first("a", "b", True)


def test_scoring_counts_in_the_engine(server: Server) -> None:
    before = server.gauge("vllm:generation_tokens_total")
    body = {"query": "Is it ", "items": ["wet?", "dry?"], "label_token_ids": [65]}
    usage = answer(server, "/generative_scoring", body)["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (20, 2)
    assert server.gauge("vllm:generation_tokens_total") == before + 2


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"messages": said("hi"), "max_tokens": 2}, "chat.completion"),
        ({"prompt": "hi", "max_tokens": 2, "model": "nope"}, "text_completion"),
        ({"input": "hi"}, "list"),
        ({"text_1": "a", "text_2": "b"}, "list"),
    ],
)
def test_invocations_go_to_the_api_of_their_body(server: Server, body: Any, name: str) -> None:
    assert answer(server, "/invocations", body)["object"] == name


def test_invocations_rerank(server: Server) -> None:
    results = answer(server, "/invocations", {"query": "a cat", "documents": ["a dog", "a cat"]})["results"]
    assert results[0]["index"] == 1


def test_invocations_stream(server: Server) -> None:
    reply = server.post("/invocations", {"messages": said("hi"), "max_tokens": 3, "stream": True})
    assert reply.header("content-type") == "text/event-stream; charset=utf-8"
    assert len(reply.chunks()) == 4


def test_an_invocation_names_an_adapter(servers: ServerPool) -> None:
    server = servers.get(*CHARACTERS, "--enable-lora", "--lora-modules", "adA=/models/loraA")
    header = {"X-Amzn-SageMaker-Adapter-Identifier": "adA"}
    reply = server.post("/invocations", {"prompt": "hi", "max_tokens": 1}, header)
    assert reply.json()["model"] == "adA"
    header = {"X-Amzn-SageMaker-Adapter-Identifier": "nope"}
    assert server.post("/invocations", {"prompt": "hi", "max_tokens": 1}, header).status == 404


BOTH = "Cannot set both `continue_final_message` and `add_generation_prompt` to True."
NO_TAG = "Invalid structured_outputs structural_tag specification. (parameter=structured_outputs)"
NO_MODEL = "The model `nope` does not exist. Valid aliases: tiny, alias2."
TAG = {"structured_outputs": {"structural_tag": "x", "regex": "x"}}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"continue_final_message": True, "stream_options": {}, "tools": [{"type": "custom"}]}, BOTH),
        ({"continue_final_message": True, "model": "nope"}, NO_MODEL),
        ({**TAG, "messages": [], "top_logprobs": 2, "n": 2}, NO_TAG),
    ],
)
def test_the_order_in_which_a_batch_is_refused(server: Server, fields: Any, message: str) -> None:
    reply = server.post(BATCH, {"model": "tiny", "messages": [said("hi")], "max_tokens": 1, **fields})
    assert reply.json()["error"]["message"] == message
