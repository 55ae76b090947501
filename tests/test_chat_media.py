"""Chat answers that are spoken, and those of models that draw."""

import base64
import io
import json
from typing import Any

import PIL.Image
import pytest
from media_support import heard
from server import INSTANT, TINY, Server, ServerPool

PATH = "/v1/chat/completions"
SAY: list[Any] = [{"role": "user", "content": "Say something"}]


def ask(server: Server, **fields: Any) -> Any:
    reply = server.post(PATH, {"messages": SAY, "max_tokens": 20, **fields})
    assert reply.status == 200, reply.body
    return reply.json()


@pytest.mark.parametrize("shape", ["wav", "mp3", "flac", "opus", "aac"])
def test_spoken_answer(shape: str, server: Server) -> None:
    body = ask(server, modalities=["text", "audio"], audio={"voice": "alloy", "format": shape}, n=2)
    assert len(body["choices"]) == 2
    for choice in body["choices"]:
        message = choice["message"]
        audio = message["audio"]
        assert audio["transcript"] == message["content"]
        assert audio["id"].startswith("audio_")
        assert audio["expires_at"] > body["created"]
        seconds, loudest = heard(base64.b64decode(audio["data"]))
        assert seconds == pytest.approx(len(message["content"].split()) / 2.5, abs=0.12)
        assert loudest > 3000


def test_without_audio_nothing_is_spoken(server: Server) -> None:
    assert ask(server, modalities=["text"])["choices"][0]["message"]["audio"] is None
    assert ask(server)["choices"][0]["message"]["audio"] is None
    data = base64.b64decode(ask(server, modalities=["audio"])["choices"][0]["message"]["audio"]["data"])
    assert data[:4] == b"RIFF"


@pytest.mark.parametrize("audio", [{"format": "midi"}, {"voice": "nobody"}, {"voice": 7}])
def test_refusals(audio: dict[str, Any], server: Server) -> None:
    reply = server.post(PATH, {"messages": SAY, "modalities": ["audio"], "audio": audio})
    assert (reply.status, reply.json()["error"]["param"]) == (400, f"audio.{next(iter(audio))}")


@pytest.mark.parametrize("flags", [(), ("--reasoning-parser", "qwen3")])
def test_spoken_stream(flags: tuple[str, ...], servers: ServerPool) -> None:
    server = servers.get(*INSTANT, *flags)
    fields = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "pcm16"}, "stream": True, "n": 2}
    chunks = server.post(PATH, {"messages": SAY, "max_tokens": 60, **fields}).chunks()
    for index in range(2):
        choices = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
        text = "".join(choice["delta"].get("content") or "" for choice in choices)
        spoken = [choice["delta"]["audio"] for choice in choices if choice["delta"].get("audio")]
        assert len({part["id"] for part in spoken}) == 1
        assert spoken[0]["transcript"] == text
        assert "expires_at" in spoken[-1]
        samples = b"".join(base64.b64decode(part["data"]) for part in spoken if "data" in part)
        assert len(samples) == round(len(text.split()) / 2.5 * 24_000) * 2
        # The choice ends after its sound.
        assert [choice["finish_reason"] is not None for choice in choices] == [False] * (len(choices) - 1) + [True]


def test_openai_sdk_speaks(server: Server) -> None:
    client = server.openai()
    answer = client.chat.completions.create(
        model="llama2-7b",
        messages=SAY,
        max_tokens=20,
        modalities=["text", "audio"],
        audio={"voice": "alloy", "format": "wav"},
    )
    audio = answer.choices[0].message.audio
    assert audio is not None
    assert audio.transcript == answer.choices[0].message.content
    assert heard(base64.b64decode(audio.data))[0] > 1


def drawn(body: Any) -> PIL.Image.Image:
    (part,) = body["choices"][0]["message"]["content"]
    head, _, data = part["image_url"]["url"].partition(",")
    assert (part["type"], head) == ("image_url", "data:image/png;base64")
    image = PIL.Image.open(io.BytesIO(base64.b64decode(data)))
    image.load()
    return image


def test_models_that_draw(servers: ServerPool) -> None:
    server = servers.get(*INSTANT, "--served-model-name", "Qwen/Qwen-Image-Edit")
    body = ask(server, height=48, width=64)
    assert drawn(body).size == (64, 48)
    assert (body["model"], body["object"]) == ("Qwen/Qwen-Image-Edit", "chat.completion")
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["prompt_tokens"] == body["usage"]["total_tokens"] > 0
    assert drawn(ask(server)).size == (1024, 1024)
    # As AIBrix's mock, a stream is text.
    assert b"chat.completion.chunk" in server.post(PATH, {"messages": SAY, "stream": True}).body
    source = io.BytesIO()
    PIL.Image.new("RGB", (30, 30), "blue").save(source, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(source.getvalue()).decode()}"
    parts = [{"type": "text", "text": "Greener"}, {"type": "image_url", "image_url": {"url": url}}]
    edited = drawn(ask(server, messages=[{"role": "user", "content": parts}], width=90, height=90))
    assert edited.convert("RGB").getpixel((45, 30)) == (0, 0, 255)


def test_any_model_draws_where_a_size_is_asked_for(server: Server) -> None:
    assert drawn(ask(server, num_inference_steps=3, width=32, height=16)).size == (32, 16)
    for fields in ({"width": 5000}, {"height": -1}, {"num_inference_steps": "many"}):
        reply = server.post(PATH, {"messages": SAY, **fields})
        assert (reply.status, reply.json()["error"]["param"]) == (400, next(iter(fields)))


def test_names_that_only_sound_like_drawing(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, environ={"VLLM_SKIP_MODEL_NAME_VALIDATION": "1"})
    for model, draws in (("meditron-7b", False), ("stable-diffusion-3", True), ("z-image-turbo", True)):
        content = ask(server, model=model, max_tokens=3)["choices"][0]["message"]["content"]
        assert isinstance(content, list) == draws, json.dumps(content)[:100]
