"""The official openai SDK against the real server: sync, async, streaming, errors."""

import asyncio
from typing import Any

import openai
import pytest
from server import GUARDED, INSTANT, TINY, Server, ServerPool

QUESTION: list[Any] = [{"role": "user", "content": "Say this is a test!"}]


def asynchronous(server: Server) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key="none", max_retries=0, timeout=30)


def test_models(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert (model.id, model.object, model.owned_by) == ("llama2-7b", "model", "vllm")


def test_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="llama2-7b", messages=QUESTION, max_tokens=12)
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_chat_stream_equals_the_answer_in_one_piece(client: openai.OpenAI) -> None:
    request: dict[str, Any] = {"model": "llama2-7b", "messages": QUESTION, "max_tokens": 30, "seed": 7}
    whole = client.chat.completions.create(**request)
    chunks = list(client.chat.completions.create(**request, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage


def test_the_helper_for_streams(client: openai.OpenAI) -> None:
    request: dict[str, Any] = {"model": "llama2-7b", "messages": QUESTION, "n": 2}
    with client.chat.completions.stream(**request) as stream:
        final = stream.get_final_completion()
    assert [choice.index for choice in final.choices] == [0, 1]
    assert all(choice.message.content for choice in final.choices)


def test_completions(client: openai.OpenAI) -> None:
    request: dict[str, Any] = {
        "model": "llama2-7b",
        "prompt": ["One", "Two"],
        "max_tokens": 8,
        "seed": 2,
        "logprobs": 1,
    }
    request |= {"logprobs": 1, "seed": 2}
    whole = client.completions.create(**request)
    assert [choice.index for choice in whole.choices] == [0, 1]
    assert whole.choices[0].logprobs is not None
    chunks = client.completions.create(**request, stream=True)
    texts = ["", ""]
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == [choice.text for choice in whole.choices]


def test_log_probabilities(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="llama2-7b",
        messages=QUESTION,
        max_tokens=5,
        logprobs=True,
        top_logprobs=3,
        extra_body={"ignore_eos": True},
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert [len(entry.top_logprobs) for entry in logprobs.content] == [3] * 5


def test_many_at_once(server: Server) -> None:
    async def ask() -> list[str]:
        async with asynchronous(server) as client:

            async def one(number: int) -> str:
                stream = await client.chat.completions.create(
                    model="llama2-7b", messages=QUESTION, max_tokens=20, seed=number % 2, stream=True
                )
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

            return await asyncio.gather(*[one(number) for number in range(20)])

    texts = asyncio.run(ask())
    assert all(texts)
    # Two seeds, whoever asks next to whom.
    assert len(set(texts)) == 2


def test_async_answers_in_one_piece(server: Server) -> None:
    async def ask() -> Any:
        async with asynchronous(server) as client:
            return await client.chat.completions.create(model="llama2-7b", messages=QUESTION, max_tokens=4)

    assert asyncio.run(ask()).choices[0].message.content


def test_leaving_a_stream_early(client: openai.OpenAI) -> None:
    for _ in range(3):
        stream = client.chat.completions.create(model="llama2-7b", messages=QUESTION, max_tokens=500, stream=True)
        for _ in zip(stream, range(3), strict=False):
            pass
        stream.close()
    assert client.chat.completions.create(model="llama2-7b", messages=QUESTION, max_tokens=1).choices


# ---- Errors -------------------------------------------------------------------------------------------------


def test_an_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refusal:
        client.chat.completions.create(model="nope", messages=QUESTION)
    assert refusal.value.body == {
        "message": "The model `nope` does not exist. Valid aliases: llama2-7b.",
        "type": "NotFoundError",
        "param": "model",
        "code": 404,
    }


@pytest.mark.parametrize("stream", [False, True])
def test_a_bad_value(client: openai.OpenAI, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError) as refusal:
        client.chat.completions.create(model="llama2-7b", messages=QUESTION, temperature=-1, stream=stream)
    assert refusal.value.param == "temperature"


def test_a_wrong_key(servers: ServerPool) -> None:
    url = f"{servers.get(*GUARDED).base_url}/v1"
    assert openai.OpenAI(base_url=url, api_key="k2").models.list().data
    with pytest.raises(openai.AuthenticationError) as refusal:
        openai.OpenAI(base_url=url, api_key="wrong", max_retries=0).models.list()
    assert refusal.value.code == "invalid_api_key"
    assert refusal.value.message


def test_a_full_queue(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, "--max-num-queued-reqs", "1")
    with pytest.raises(openai.InternalServerError) as refusal:
        server.openai().chat.completions.create(model="tiny", messages=QUESTION, n=2)
    assert refusal.value.status_code == 503
