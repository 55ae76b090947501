#!/usr/bin/env python3
"""Check the OpenAI-compatible endpoints of a running server with the official openai SDK.

    python test_openai_endpoints.py [--base-url http://localhost:8000/v1] [--api-key KEY] [--model NAME]

One line per check, then "N passed, N failed". Exit code 0: all passed; 1: a check failed; 2: the checks
could not begin (no server, a refused key, no SDK). Works for this mock and for a real `vllm serve` alike, so
no check knows what the model will say: answers are compared with each other, with their usage and with the
request.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import inspect
import io
import json
import math
import os
import struct
import sys
import time
import warnings
import wave
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

try:
    import openai
except ImportError as error:
    # Not fatal here: main() says it in one line, and a test runner may import this file.
    openai = None  # type: ignore[assignment]
    SDK_PROBLEM = str(error)

TIMEOUT_SECONDS = 60.0
QUESTION: list[Any] = [{"role": "user", "content": "Say this is a test!"}]


@dataclass
class Target:
    """The server under test."""

    connection: dict[str, Any]
    client: openai.OpenAI
    model: str
    max_model_len: int | None

    def chat(self, messages: list[Any] | None = None, **parameters: Any) -> Any:
        """A chat completion (or, with stream=True, its stream) of at most 8 tokens unless told otherwise."""
        request = {"model": self.model, "messages": messages or QUESTION, "max_tokens": 8, **parameters}
        return self.client.chat.completions.create(**request)

    def complete(self, prompt: Any = "Once upon a time", **parameters: Any) -> Any:
        request = {"model": self.model, "prompt": prompt, "max_tokens": 8, **parameters}
        return self.client.completions.create(**request)

    def async_client(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(**self.connection)


# ---- The runner -------------------------------------------------------------------------------------------


class NotOffered(Exception):
    """The server, or its model, gives no occasion for a check: a note, neither passed nor failed."""


CHECKS: list[tuple[str, Callable[[Target], Any]]] = []


def check(title: str) -> Callable[[Callable[[Target], Any]], Callable[[Target], Any]]:
    """Register a check, sync or async. It passes unless it raises; a string that it returns is a remark."""

    def register(function: Callable[[Target], Any]) -> Callable[[Target], Any]:
        CHECKS.append((title, function))
        return function

    return register


def expect(condition: Any, reason: str) -> None:
    if not condition:
        raise AssertionError(reason)


def equal(actual: Any, expected: Any, what: str) -> None:
    expect(actual == expected, f"{what} is {actual!r}, expected {expected!r}")


def run_checks(target: Target) -> int:
    """Run all checks, print a line for each and the summary; returns the exit code, 0 or 1."""
    passed = failed = 0
    for title, function in CHECKS:
        try:
            remark = function(target)
            if inspect.iscoroutine(remark):
                remark = asyncio.run(remark)
        except NotOffered as why:
            print(f"note  {title}: {why}", flush=True)
        except Exception as error:
            failed += 1
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            print(f"FAIL  {title}: {kind}{' '.join(str(error).split())[:300]}", flush=True)
        else:
            passed += 1
            print(f"ok    {title}" + (f" ({remark})" if remark else ""), flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


# ---- What several checks need -----------------------------------------------------------------------------


def said(message: Any) -> str:
    """The text of a message or delta; that of a server with a reasoning parser may be all reasoning."""
    return message.content or getattr(message, "reasoning", None) or ""


def check_usage(usage: Any, most: int) -> None:
    expect(usage is not None, "the answer has no usage")
    expect(usage.prompt_tokens > 0, f"prompt_tokens is {usage.prompt_tokens}")
    expect(0 < usage.completion_tokens <= most, f"completion_tokens is {usage.completion_tokens} of {most}")
    equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens, "total_tokens")


def stop_letter(target: Target) -> tuple[str, str]:
    """A letter of the greedy answer to QUESTION (24 tokens) and the text before its first occurrence."""
    whole = target.chat(temperature=0, max_tokens=24).choices[0].message.content or ""
    for position, letter in enumerate(whole):
        if letter.isascii() and letter.isalpha() and whole.find(letter) == position > 0:
            return letter, whole[:position]
    raise NotOffered("the answer has no letter to stop at")


def check_chat_chunks(chunks: list[Any], choices: int = 1) -> dict[int, str]:
    """The shape of a whole chat stream; returns the text by choice index."""
    expect(chunks, "the stream has no chunks")
    equal({chunk.object for chunk in chunks}, {"chat.completion.chunk"}, "object")
    equal(len({chunk.id for chunk in chunks}), 1, "the number of distinct ids")
    parts = [choice for chunk in chunks for choice in chunk.choices]
    texts: dict[int, str] = {}
    for index in range(choices):
        own = [choice for choice in parts if choice.index == index]
        expect(own, f"choice {index} has no chunk")
        equal(own[0].delta.role, "assistant", f"the role in the first chunk of choice {index}")
        finishes = [choice.finish_reason for choice in own if choice.finish_reason]
        expect(len(finishes) == 1, f"choice {index} has {len(finishes)} finish reasons")
        expect(own[-1].finish_reason, f"choice {index} goes on after its finish reason")
        texts[index] = "".join(said(choice.delta) for choice in own)
    return texts


def refused(kind: type[Exception], status: int, call: Callable[[], Any]) -> Any:
    """The SDK's exception of a call that has to fail with this class and status."""
    try:
        call()
    except kind as error:
        equal(getattr(error, "status_code", None), status, "the status")
        expect(getattr(error, "message", ""), "the error has no message")
        return error
    raise AssertionError(f"accepted, expected {kind.__name__}")


def check_bad_request(call: Callable[[], Any], param: str) -> str:
    error = refused(openai.BadRequestError, 400, call)
    expect(param in (error.param or ""), f"param is {error.param!r}, expected {param!r}")
    return f"param {error.param}"


# ---- Models -----------------------------------------------------------------------------------------------


@check("models: the list has the model")
def models_list(target: Target) -> str:
    models = target.client.models.list().data
    equal({model.object for model in models}, {"model"}, "object")
    expect(target.model in [model.id for model in models], f"{target.model!r} is not listed")
    return ", ".join(model.id for model in models)


# ---- Chat completions -------------------------------------------------------------------------------------


@check("chat: an answer with its usage")
def chat_answer(target: Target) -> None:
    answer = target.chat()
    equal(answer.object, "chat.completion", "object")
    expect(answer.id.startswith("chatcmpl-"), f"id is {answer.id!r}")
    expect(answer.model, "model is empty")
    expect(abs(answer.created - time.time()) < 86_400, f"created is {answer.created}, not a time of today")
    equal(len(answer.choices), 1, "the number of choices")
    equal(answer.choices[0].message.role, "assistant", "role")
    expect(said(answer.choices[0].message), "the answer is empty")
    check_usage(answer.usage, 8)


@check("chat: multi-turn with system, user and assistant; each turn adds prompt tokens")
def chat_multi_turn(target: Target) -> str:
    messages: list[Any] = [{"role": "system", "content": "Be brief."}, *QUESTION]
    first = target.chat(messages)
    messages.append({"role": "assistant", "content": said(first.choices[0].message)})
    messages.append({"role": "user", "content": "And again?"})
    second = target.chat(messages)
    counts = first.usage.prompt_tokens, second.usage.prompt_tokens
    expect(counts[1] > counts[0], f"prompt_tokens went from {counts[0]} to {counts[1]}")
    return f"{counts[0]}, then {counts[1]} prompt tokens"


@check("chat: content as a list of text parts counts as the same text")
def chat_content_parts(target: Target) -> None:
    parts = [{"type": "text", "text": QUESTION[0]["content"]}]
    listed = target.chat([{"role": "user", "content": parts}])
    equal(listed.usage.prompt_tokens, target.chat().usage.prompt_tokens, "prompt_tokens")


@check("chat: max_tokens and max_completion_tokens end the answer with 'length'")
def chat_length(target: Target) -> None:
    for limit in ({"max_tokens": 3}, {"max_tokens": None, "max_completion_tokens": 3}):
        answer = target.chat(**limit, extra_body={"ignore_eos": True})
        equal(answer.choices[0].finish_reason, "length", f"finish_reason with {limit}")
        equal(answer.usage.completion_tokens, 3, f"completion_tokens with {limit}")


@check("chat: n=2 gives two choices, and usage counts both")
def chat_n(target: Target) -> None:
    answer = target.chat(n=2, temperature=1.0, max_tokens=4, extra_body={"ignore_eos": True})
    equal([choice.index for choice in answer.choices], [0, 1], "the indexes")
    equal(answer.usage.completion_tokens, 8, "completion_tokens")
    one = target.chat(max_tokens=4)
    equal(answer.usage.prompt_tokens, one.usage.prompt_tokens, "prompt_tokens (counted once)")


@check("chat: a stop string ends the answer before it")
def chat_stop(target: Target) -> str:
    letter, before = stop_letter(target)
    answer = target.chat(temperature=0, max_tokens=24, stop=[letter]).choices[0]
    equal(answer.message.content, before, "content")
    equal(answer.finish_reason, "stop", "finish_reason")
    equal(getattr(answer, "stop_reason", letter), letter, "stop_reason")
    return f"stop={letter!r}"


@check("chat: the same seed gives the same answer")
def chat_seed(target: Target) -> None:
    texts = [said(target.chat(seed=42, temperature=1.0).choices[0].message) for _ in range(3)]
    expect(len(set(texts)) == 1, f"{len(set(texts))} different answers to one seed: {texts!r}")


@check("chat: logprobs for each token, with alternatives")
def chat_logprobs(target: Target) -> None:
    answer = target.chat(logprobs=True, top_logprobs=2)
    entries = answer.choices[0].logprobs.content
    equal(len(entries), answer.usage.completion_tokens, "the number of logprobs")
    for entry in entries:
        expect(entry.logprob <= 0, f"logprob is {entry.logprob}")
        expect(bytes(entry.bytes or []) or not entry.token, f"token {entry.token!r} has no bytes")
        expect(1 <= len(entry.top_logprobs) <= 2, f"{len(entry.top_logprobs)} top_logprobs for 2 asked")


@check("chat: response_format gives valid JSON, structured_outputs one of the choices")
def chat_structured(target: Target) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 30}, "size": {"enum": ["small", "large"]}},
        "required": ["city", "size"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "town", "schema": schema}}
    choice = target.chat(response_format=wanted, max_tokens=100, temperature=0).choices[0]
    value = json.loads(said(choice.message))
    equal(set(value), {"city", "size"}, "the properties")
    expect(value["size"] in ("small", "large"), f"size is {value['size']!r}")
    answer = target.chat(extra_body={"structured_outputs": {"choice": ["yes", "no"]}}, max_tokens=10)
    expect(said(answer.choices[0].message) in ("yes", "no"), f"the answer is {said(answer.choices[0].message)!r}")


@check("chat: the raw response is JSON and parses to the same object")
def chat_raw_response(target: Target) -> None:
    raw = target.client.chat.completions.with_raw_response.create(model=target.model, messages=QUESTION, max_tokens=4)
    equal(raw.headers["content-type"].split(";")[0], "application/json", "content-type")
    expect(raw.parse().choices, "no choices")


# ---- Chat streams -----------------------------------------------------------------------------------------


@check("chat stream: role first, one finish reason last")
def chat_stream(target: Target) -> str:
    chunks = list(target.chat(stream=True))
    expect(check_chat_chunks(chunks)[0], "the streamed text is empty")
    return f"{len(chunks)} chunks"


@check("chat stream: include_usage adds one last chunk with the usage")
def chat_stream_usage(target: Target) -> None:
    chunks = list(target.chat(stream=True, stream_options={"include_usage": True}))
    check_chat_chunks(chunks)
    equal(chunks[-1].choices, [], "choices of the last chunk")
    check_usage(chunks[-1].usage, 8)


@check("chat stream: the same text and usage as without stream")
def chat_stream_same(target: Target) -> None:
    fixed: dict[str, Any] = {"temperature": 0, "seed": 7}
    chunks = list(target.chat(stream=True, stream_options={"include_usage": True}, **fixed))
    answer = target.chat(**fixed)
    equal(check_chat_chunks(chunks)[0], said(answer.choices[0].message), "the streamed text")
    for key in ("prompt_tokens", "completion_tokens", "total_tokens"):
        equal(getattr(chunks[-1].usage, key), getattr(answer.usage, key), key)


@check("chat stream: n=2 interleaves two choices")
def chat_stream_n(target: Target) -> None:
    check_chat_chunks(list(target.chat(stream=True, n=2, temperature=1.0)), choices=2)


@check("chat stream: the SDK's stream helper puts the completion together")
def chat_stream_helper(target: Target) -> None:
    # The helper rejects answers cut by their length, so this one has to end at a stop string.
    letter, before = stop_letter(target)
    request: dict[str, Any] = {"model": target.model, "messages": QUESTION, "temperature": 0}
    request |= {"max_tokens": 24, "stop": letter, "stream_options": {"include_usage": True}}
    with target.client.chat.completions.stream(**request) as stream:
        events = {event.type for event in stream}
        final = stream.get_final_completion()
    expect({"chunk", "content.delta", "content.done"} <= events, f"the events are {sorted(events)}")
    equal(final.choices[0].message.content, before, "the final content")
    check_usage(final.usage, 24)


@check("chat stream: may be closed early; the next request is served")
def chat_stream_closed(target: Target) -> None:
    stream = target.chat(stream=True, max_tokens=64, extra_body={"ignore_eos": True})
    next(iter(stream))
    stream.close()
    expect(target.chat(max_tokens=2).choices, "no answer after a closed stream")


def stream_seconds(target: Target, tokens: int) -> tuple[float, float]:
    """Seconds until the first and the last chunk of a stream of so many tokens."""
    begin = time.perf_counter()
    stream = target.chat(stream=True, max_tokens=tokens, extra_body={"ignore_eos": True})
    arrivals = [time.perf_counter() - begin for _ in stream]
    return arrivals[0], arrivals[-1]


@check("chat stream: tokens come as they are made, not all at the end")
def chat_stream_timing(target: Target) -> str:
    # A server that holds the stream back sends its first chunk at the end, however early that is for an
    # answer of one token. No absolute time is asked for, and one attempt of three suffices: a busy machine
    # may delay any chunk.
    for _ in range(3):
        _, short = stream_seconds(target, 1)
        first, last = stream_seconds(target, 32)
        if last - short < 0.05:
            return "too fast to tell"
        if first - short < (last - short) / 2:
            return f"first chunk after {first * 1000:.0f} ms, last after {last * 1000:.0f} ms"
    raise AssertionError(
        f"the first of 32 tokens came after {first:.3f} s, the last after {last:.3f} s; "
        f"a single token takes {short:.3f} s"
    )


# ---- Completions ------------------------------------------------------------------------------------------


@check("completions: an answer with its usage")
def completion_answer(target: Target) -> None:
    answer = target.complete()
    equal(answer.object, "text_completion", "object")
    expect(answer.id.startswith("cmpl-"), f"id is {answer.id!r}")
    expect(answer.choices[0].text, "the text is empty")
    check_usage(answer.usage, 8)


@check("completions: max_tokens is 16 unless given")
def completion_default_length(target: Target) -> None:
    answer = target.complete(max_tokens=openai.NOT_GIVEN, extra_body={"ignore_eos": True})
    equal(answer.usage.completion_tokens, 16, "completion_tokens")
    equal(answer.choices[0].finish_reason, "length", "finish_reason")


@check("completions: a list of prompts gives a choice for each, n of them with n")
def completion_prompts(target: Target) -> None:
    answer = target.complete(["One", "Two"], n=2, temperature=1.0, max_tokens=2)
    equal([choice.index for choice in answer.choices], [0, 1, 2, 3], "the indexes")


@check("completions: a prompt of token ids, alone and in a list")
def completion_token_ids(target: Target) -> None:
    equal(target.complete([10, 11, 12]).usage.prompt_tokens, 3, "prompt_tokens")
    answer = target.complete([[10, 11, 12], [13, 14]])
    equal(answer.usage.prompt_tokens, 5, "prompt_tokens of two")
    equal([choice.index for choice in answer.choices], [0, 1], "the indexes")


@check("completions: echo puts the prompt before the answer")
def completion_echo(target: Target) -> None:
    text = target.complete("Once upon a time", echo=True).choices[0].text
    expect(text.startswith("Once upon a time"), f"the text begins {text[:30]!r}")
    expect(len(text) > len("Once upon a time"), "the text is the prompt alone")


@check("completions: logprobs as parallel lists")
def completion_logprobs(target: Target) -> None:
    answer = target.complete(logprobs=2)
    logprobs = answer.choices[0].logprobs
    for key in ("tokens", "token_logprobs", "text_offset", "top_logprobs"):
        equal(len(getattr(logprobs, key)), answer.usage.completion_tokens, f"the length of {key}")
    equal(logprobs.text_offset, sorted(logprobs.text_offset), "text_offset")


@check("completions: the same seed gives the same text")
def completion_seed(target: Target) -> None:
    texts = [target.complete(seed=11, temperature=1.0).choices[0].text for _ in range(2)]
    equal(texts[1], texts[0], "the second text")


@check("completions stream: the same text as without, and include_usage")
def completion_stream(target: Target) -> None:
    fixed: dict[str, Any] = {"temperature": 0, "seed": 7}
    chunks = list(target.complete(stream=True, stream_options={"include_usage": True}, **fixed))
    equal({chunk.object for chunk in chunks}, {"text_completion"}, "object")
    parts = [choice for chunk in chunks for choice in chunk.choices]
    equal("".join(part.text for part in parts), target.complete(**fixed).choices[0].text, "the streamed text")
    expect(parts[-1].finish_reason, "the last chunk has no finish reason")
    equal(chunks[-1].choices, [], "choices of the last chunk")
    check_usage(chunks[-1].usage, 8)


# ---- Embeddings -------------------------------------------------------------------------------------------


def embed(target: Target, given: Any, **parameters: Any) -> Any:
    """An embeddings answer; NotOffered if the server's model has none."""
    try:
        return target.client.embeddings.create(model=target.model, input=given, **parameters)
    except openai.NotFoundError:
        raise NotOffered("the model makes no embeddings") from None


def cosine(one: list[float], other: list[float]) -> float:
    lengths = [sum(number * number for number in vector) ** 0.5 for vector in (one, other)]
    return sum(a * b for a, b in zip(one, other, strict=True)) / lengths[0] / lengths[1]


@check("embeddings: a vector for each input, in order, with their usage")
def embeddings_answer(target: Target) -> str:
    answer = embed(target, ["Hello world", "Say this is a test!", "Hello world"])
    equal([entry.index for entry in answer.data], [0, 1, 2], "indices")
    equal(len({len(entry.embedding) for entry in answer.data}), 1, "number of lengths")
    expect(answer.usage.prompt_tokens == answer.usage.total_tokens > 0, f"usage {answer.usage}")
    expect(cosine(answer.data[0].embedding, answer.data[2].embedding) > 0.9999, "equal texts have other vectors")
    expect(cosine(answer.data[0].embedding, answer.data[1].embedding) < 0.999, "all texts have one vector")
    return f"{len(answer.data[0].embedding)} dimensions"


@check("embeddings: float and base64 are the same numbers")
def embeddings_forms(target: Target) -> None:
    floats = embed(target, "Hello world", encoding_format="float").data[0].embedding
    decoded = embed(target, "Hello world").data[0].embedding  # the SDK asks for base64 and decodes it
    expect(max(abs(a - b) for a, b in zip(floats, decoded, strict=True)) < 1e-5, "they differ")


@check("embeddings: dimensions shorten the vector")
def embeddings_dimensions(target: Target) -> None:
    try:
        answer = embed(target, "Hello world", dimensions=64)
    except openai.BadRequestError as error:
        raise NotOffered(f"refused: {error}") from None
    equal(len(answer.data[0].embedding), 64, "length")


@check("embeddings: no input is a BadRequestError")
def embeddings_empty(target: Target) -> None:
    embed(target, "Hello world")
    refused(openai.BadRequestError, 400, lambda: embed(target, []))


# ---- Async client -----------------------------------------------------------------------------------------


@check("async: models, chat and completions")
async def async_answers(target: Target) -> None:
    async with target.async_client() as client:
        models = [model.id async for model in client.models.list()]
        expect(target.model in models, f"{target.model!r} is not among {models}")
        chat = await client.chat.completions.create(model=target.model, messages=QUESTION, max_tokens=8)
        check_usage(chat.usage, 8)
        completion = await client.completions.create(model=target.model, prompt="Hello", max_tokens=8)
        check_usage(completion.usage, 8)


@check("async: a chat stream with usage")
async def async_stream(target: Target) -> None:
    async with target.async_client() as client:
        stream = await client.chat.completions.create(
            model=target.model,
            messages=QUESTION,
            max_tokens=8,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    expect(check_chat_chunks(chunks)[0], "the streamed text is empty")
    check_usage(chunks[-1].usage, 8)


@check("async: eight requests at once, each with an id of its own")
async def async_parallel(target: Target) -> None:
    async with target.async_client() as client:
        calls = [client.chat.completions.create(model=target.model, messages=QUESTION, max_tokens=4) for _ in range(8)]
        answers = await asyncio.gather(*calls)
    equal(len({answer.id for answer in answers}), 8, "the number of distinct ids")


@check("async: an unknown model is a NotFoundError")
async def async_error(target: Target) -> None:
    async with target.async_client() as client:
        try:
            await client.chat.completions.create(model="no-such-model", messages=QUESTION)
        except openai.NotFoundError:
            return
    raise AssertionError("accepted, expected NotFoundError")


# ---- Images, speech, recordings, videos -------------------------------------------------------------------


def offered(call: Callable[[], Any], what: str) -> Any:
    """An answer; NotOffered if the server has no such route."""
    try:
        with warnings.catch_warnings():
            # What OpenAI has given up may go on elsewhere.
            warnings.simplefilter("ignore", DeprecationWarning)
            return call()
    except openai.NotFoundError:
        raise NotOffered(f"the server makes no {what}") from None


def tone(seconds: float) -> bytes:
    """A wav file with a tone of 440 Hz."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        samples = (int(9000 * math.sin(0.1728 * number)) for number in range(int(seconds * 16_000)))
        writer.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return file.getvalue()


def heard(target: Target, kind: str = "transcriptions", **parameters: Any) -> Any:
    """What the server makes of a recording of three seconds."""
    route = getattr(target.client.audio, kind)
    file = ("tone.wav", tone(3))
    return offered(lambda: route.create(model=target.model, file=file, **parameters), kind)


@check("chat: a spoken answer")
def chat_audio(target: Target) -> None:
    modalities: Any = ["text", "audio"]
    audio = target.chat(modalities=modalities, audio={"voice": "alloy", "format": "wav"}).choices[0].message.audio
    if audio is None:
        raise NotOffered("the model does not speak")
    equal(base64.b64decode(audio.data)[:4], b"RIFF", "the first bytes of the sound")
    expect(audio.transcript, "the transcript is empty")


@check("images: a PNG of the asked size")
def images_generate(target: Target) -> None:
    parameters: Any = {"prompt": "A cat", "size": "256x128", "response_format": "b64_json"}
    answer = offered(lambda: target.client.images.generate(model=target.model, **parameters), "images")
    data = base64.b64decode(answer.data[0].b64_json)
    equal(data[:8], b"\x89PNG\r\n\x1a\n", "the first bytes of the file")
    equal(struct.unpack(">II", data[16:24]), (256, 128), "width and height")


@check("images: an edit of a picture")
def images_edit(target: Target) -> None:
    size: Any = "64x64"
    picture = offered(lambda: target.client.images.generate(model=target.model, prompt="A cat", size=size), "images")
    file = ("cat.png", base64.b64decode(picture.data[0].b64_json))
    answer = target.client.images.edit(model=target.model, image=file, prompt="Add a hat", size=size)
    expect((answer.data or [None])[0], "the answer has no picture")


@check("speech: a wav file whose length follows speed")
def speech(target: Target) -> None:
    def frames(speed: float) -> int:
        create = target.client.audio.speech.create
        parameters: Any = {"input": "One two three four five", "voice": "vivian", "response_format": "wav"}
        answer = offered(lambda: create(model=target.model, speed=speed, **parameters), "speech")
        with wave.open(io.BytesIO(answer.content)) as file:
            return file.getnframes()

    expect(frames(1.0) > 1.5 * frames(2.0), "speech at twice the speed is not shorter")


@check("speech: streamed as mp3")
def speech_stream(target: Target) -> str:
    create = target.client.audio.speech.with_streaming_response.create
    with offered(lambda: create(model=target.model, input="Hello there", voice="vivian"), "speech") as response:
        size = sum(map(len, response.iter_bytes()))
    expect(size > 500, f"{size} bytes")
    return f"{size} bytes"


@check("transcriptions: JSON with the length of the recording")
def transcription(target: Target) -> None:
    answer = heard(target)
    expect(answer.text, "the text is empty")
    equal((answer.usage.type, answer.usage.seconds), ("duration", 3), "usage")


@check("transcriptions: verbose_json with segments")
def transcription_verbose(target: Target) -> None:
    answer = heard(target, response_format="verbose_json")
    expect(abs(float(answer.duration) - 3) < 0.1, f"duration is {answer.duration}")
    expect(answer.segments and answer.segments[-1].end <= 3.1, "the segments do not fit the recording")


@check("transcriptions: streamed")
def transcription_stream(target: Target) -> None:
    chunks = list(heard(target, stream=True))
    equal({chunk.object for chunk in chunks}, {"transcription.chunk"}, "object")


@check("transcriptions: what is no recording is a BadRequestError")
def transcription_of_nothing(target: Target) -> None:
    heard(target)
    file = ("x.wav", b"no sound")
    refused(
        openai.BadRequestError, 400, lambda: target.client.audio.transcriptions.create(model=target.model, file=file)
    )


@check("translations: JSON")
def translation(target: Target) -> None:
    expect(heard(target, "translations").text, "the text is empty")


@check("videos: from the job to the file")
def videos(target: Target) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client = target.client.videos
        size: Any = "64x64"
        job = offered(lambda: client.create(model=target.model, prompt="A boat", seconds="4", size=size), "videos")
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while job.status not in ("completed", "failed") and time.monotonic() < deadline:
            time.sleep(0.1)
            job = client.retrieve(job.id)
        equal(job.status, "completed", "status")
        data = client.download_content(job.id).read()
        equal(data[4:8], b"ftyp", "the type of the first box")
        expect(job.id in [listed.id for listed in client.list().data], "the job is not listed")
        again = client.remix(job.id, prompt="A larger boat")
        expect(again.id != job.id, "the remix is no job of its own")
        client.delete(again.id)
        expect(client.delete(job.id).deleted, "the job is not deleted")
    return f"{len(data)} bytes"


# ---- Responses --------------------------------------------------------------------------------------------


@check("responses: a text with its usage, read again where it is stored")
def responses(target: Target) -> str:
    client = target.client.responses
    create = lambda: client.create(model=target.model, input=QUESTION[0]["content"], max_output_tokens=64)  # noqa: E731
    response = offered(create, "responses")
    expect(response.output_text or response.output, "the response says nothing")
    usage = response.usage
    equal(usage.total_tokens, usage.input_tokens + usage.output_tokens, "total_tokens")
    try:
        equal(client.retrieve(response.id).output_text, response.output_text, "the stored text")
    except openai.NotFoundError:
        refused(openai.NotFoundError, 404, lambda: client.cancel(response.id))
        return "not stored"
    refused(openai.BadRequestError, 400, lambda: client.cancel(response.id))
    return "stored"


@check("responses: a stream's events add up to the text")
def responses_stream(target: Target) -> None:
    create = target.client.responses.create
    events = list(offered(lambda: create(model=target.model, input="Hello", max_output_tokens=32, stream=True), "it"))
    equal([event.sequence_number for event in events], list(range(len(events))), "the numbers of the events")
    equal(events[0].type, "response.created", "the first event")
    expect(events[-1].type in ("response.completed", "response.incomplete"), f"the last event is {events[-1].type}")
    told = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    equal(events[-1].response.output_text, told, "the text")


# ---- Errors -----------------------------------------------------------------------------------------------


@check("errors: an unknown model is a NotFoundError, also for a stream")
def error_model(target: Target) -> None:
    calls: Iterable[Callable[[], Any]] = (
        lambda: target.chat(model="no-such-model"),
        lambda: target.chat(model="no-such-model", stream=True),
        lambda: target.complete(model="no-such-model"),
    )
    for call in calls:
        error = refused(openai.NotFoundError, 404, call)
        expect("no-such-model" in error.message, f"the message does not name the model: {error.message!r}")
        equal(error.param, "model", "param")


@check("errors: a value out of range is a BadRequestError with param")
def error_range(target: Target) -> str:
    return check_bad_request(lambda: target.chat(temperature=-1), "temperature")


@check("errors: a value of the wrong type is a BadRequestError with param")
def error_type(target: Target) -> str:
    return check_bad_request(lambda: target.chat(temperature="hot"), "temperature")


@check("errors: max_tokens=0 is a BadRequestError with param")
def error_max_tokens(target: Target) -> str:
    return check_bad_request(lambda: target.chat(max_tokens=0), "max_tokens")


@check("errors: no messages and n=0 are BadRequestErrors")
def error_messages(target: Target) -> None:
    empty: dict[str, Any] = {"model": target.model, "messages": []}
    refused(openai.BadRequestError, 400, lambda: target.client.chat.completions.create(**empty))
    refused(openai.BadRequestError, 400, lambda: target.chat(n=0))


@check("errors: a prompt longer than the context is a BadRequestError")
def error_context(target: Target) -> str:
    if target.max_model_len is None:
        raise NotOffered("/v1/models does not tell max_model_len")
    prompt = "x " * (target.max_model_len + 1)
    error = refused(openai.BadRequestError, 400, lambda: target.complete(prompt, max_tokens=1))
    expect(str(target.max_model_len) in error.message, f"the message is {error.message[:120]!r}")
    return f"max_model_len {target.max_model_len}"


@check("errors: a wrong API key is an AuthenticationError")
def error_key(target: Target) -> None:
    with openai.OpenAI(**{**target.connection, "api_key": "wrong-key-of-the-test"}) as stranger:
        try:
            stranger.models.list()
        except openai.AuthenticationError as error:
            expect(error.message, "the error has no message")
            return
    raise NotOffered("this server asks for no key")


# ---- Start ------------------------------------------------------------------------------------------------


class CannotBegin(Exception):
    """Why no check can run, in one line."""


def connect(base_url: str, api_key: str, model: str | None) -> Target:
    """Reach the server and find out its model; raises CannotBegin."""
    connection: dict[str, Any] = {"base_url": base_url, "api_key": api_key}
    connection |= {"timeout": TIMEOUT_SECONDS, "max_retries": 0}
    client = openai.OpenAI(**connection)
    try:
        cards = {card.id: card for card in client.models.list().data}
    except openai.APIConnectionError as error:
        raise CannotBegin(f"no server answers at {base_url}: {error.__cause__ or error}") from None
    except openai.AuthenticationError:
        raise CannotBegin(f"the server at {base_url} refuses the API key (401): give --api-key") from None
    except openai.NotFoundError:
        raise CannotBegin(f"nothing at {base_url}/models (404): a base URL ends in /v1") from None
    except Exception as error:
        raise CannotBegin(f"no OpenAI-compatible answer from {base_url}/models: {error}") from None
    if not cards:
        raise CannotBegin(f"the server at {base_url} lists no model")
    name = model or next(iter(cards))
    if name not in cards:
        raise CannotBegin(f"the server at {base_url} has no model {name!r}, only: {', '.join(cards)}")
    return Target(connection, client, name, getattr(cards[name], "max_model_len", None))


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Check OpenAI-compatible endpoints with the openai SDK.")
    parser.add_argument("--base-url", default="http://localhost:8000/v1", help="default: %(default)s")
    parser.add_argument("--api-key", help="default: VLLM_API_KEY, then OPENAI_API_KEY, of the environment")
    parser.add_argument("--model", help="default: the first one of /v1/models")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    arguments = parse_arguments(argv)
    if openai is None:
        print(f"openai is not installed: pip install openai ({SDK_PROBLEM})", file=sys.stderr)
        return 2
    # The SDK insists on some key; a server without keys ignores it.
    environment = os.environ.get("VLLM_API_KEY") or os.environ.get("OPENAI_API_KEY")
    try:
        target = connect(arguments.base_url, arguments.api_key or environment or "no-key", arguments.model)
    except CannotBegin as why:
        print(" ".join(str(why).split()), file=sys.stderr)
        return 2
    print(f"Checking {arguments.base_url}, model {target.model}, openai SDK {openai.__version__}")
    return run_checks(target)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
