"""Speech: playable files of the right length in every format, streams, voices, refusals."""

import base64
import io
import json
import time
import wave
from typing import Any

import openai
import pytest
import requests
from media_support import heard
from server import Server, ServerPool

TEXT = "The quick brown fox jumps over the lazy dog tonight"
# 10 words, 2.5 a second.
SECONDS = 4.0
PATH = "/v1/audio/speech"
CONTENT_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
}


def post(server: Server, **fields: Any) -> requests.Response:
    body = {"input": TEXT, "voice": "alloy", **fields}
    return requests.post(server.base_url + PATH, json=body, timeout=30)


@pytest.mark.parametrize("shape", CONTENT_TYPES)
def test_each_format_plays(shape: str, server: Server) -> None:
    reply = post(server, response_format=shape)
    assert reply.headers["content-type"] == CONTENT_TYPES[shape]
    assert reply.headers["content-disposition"] == f"attachment; filename=speech.{shape}"
    seconds, loudest = heard(reply.content)
    # Codecs of frames pad the first and the last one.
    assert seconds == pytest.approx(SECONDS, abs=0.0 if shape in ("wav", "flac") else 0.12)
    assert 3000 < loudest < 20_000


def test_the_default_is_mp3_and_pcm_has_no_head(server: Server) -> None:
    assert post(server).headers["content-type"] == "audio/mpeg"
    with wave.open(io.BytesIO(post(server, response_format="wav").content)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)
        samples = file.readframes(file.getnframes())
    assert post(server, response_format="pcm").content == samples
    assert len(samples) == SECONDS * 48_000


@pytest.mark.parametrize("speed", [0.25, 1.5, 4.0])
def test_speed_shortens(speed: float, server: Server) -> None:
    assert len(post(server, response_format="pcm", speed=speed).content) == round(SECONDS * 24_000 / speed) * 2


def test_voices_differ_and_repeat(server: Server) -> None:
    def said(voice: str) -> bytes:
        return post(server, voice=voice, response_format="pcm").content

    assert said("alloy") == said("alloy")
    assert len({said(voice) for voice in ("alloy", "vivian", "uncle_fu")}) == 3
    assert post(server, voice={"id": "nova"}, instructions="Whisper.").status_code == 200
    assert post(server, voice="Vivian").status_code == 200
    assert post(server, voice="someone", ref_audio="data:audio/wav;base64,AAAA").status_code == 200


def test_list_of_voices(server: Server) -> None:
    body = server.get("/v1/audio/voices").json()
    assert body["uploaded_voices"] == []
    assert {"aiden", "vivian", "uncle_fu"} <= set(body["voices"])
    assert all(post(server, voice=voice).status_code == 200 for voice in body["voices"])


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "body.input"),
        ({"input": ""}, "body.input"),
        ({"input": "a" * 4097}, "body.input"),
        ({"voice": "nobody"}, "voice"),
        ({"voice": {"name": "alloy"}}, "voice"),
        ({"response_format": "midi"}, "body.response_format"),
        ({"speed": 0.2}, "body.speed"),
        ({"speed": 5}, "body.speed"),
        ({"stream_format": "smoke"}, "body.stream_format"),
        ({"task_type": "Song"}, "body.task_type"),
    ],
)
def test_refusals(fields: dict[str, Any], param: str, server: Server) -> None:
    reply = post(server, **fields)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


def test_refusals_of_the_request_as_a_whole(server: Server) -> None:
    url = server.base_url + PATH
    assert requests.post(url, data="{", headers={"Content-Type": "application/json"}, timeout=30).status_code == 400
    missing = requests.post(url, json={"voice": "alloy"}, timeout=30)
    assert "'loc': 'body.input', 'msg': 'Field required'" in missing.json()["error"]["message"]
    assert post(server, model="nope").status_code == 404


def test_stream_of_events(server: Server) -> None:
    whole = post(server, response_format="wav").content
    reply = post(server, response_format="wav", stream_format="sse")
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = [json.loads(event.removeprefix("data: ")) for event in reply.text.strip().split("\n\n")]
    assert [event["type"] for event in events] == ["speech.audio.delta"] * (len(events) - 1) + ["speech.audio.done"]
    assert b"".join(base64.b64decode(event["audio"]) for event in events[:-1]) == whole
    usage = events[-1]["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["output_tokens"] == 50


def test_streams_begin_before_they_end(servers: ServerPool) -> None:
    server = servers.get("--time-to-first-token", "0.1s", "--inter-token-latency", "10ms")
    began = time.monotonic()
    body = {"input": TEXT, "voice": "alloy", "stream_format": "audio", "response_format": "mp3"}
    with requests.post(server.base_url + PATH, json=body, stream=True, timeout=30) as reply:
        arrivals = []
        data = b""
        for piece in reply.iter_content(None):
            arrivals.append(time.monotonic() - began)
            data += piece
    assert heard(data)[0] == pytest.approx(SECONDS, abs=0.12)
    # 12.5 tokens for each of four seconds, 10 ms each.
    assert 0.1 <= arrivals[0] < arrivals[-1]
    assert arrivals[-1] >= 0.6


def test_openai_sdk(client: openai.OpenAI) -> None:
    speech = client.audio.speech.create(model="llama2-7b", voice="nova", input=TEXT, response_format="wav", speed=2)
    assert heard(speech.content)[0] == SECONDS / 2
    with client.audio.speech.with_streaming_response.create(
        model="llama2-7b", voice="coral", input=TEXT, instructions="Cheerfully."
    ) as response:
        data = b"".join(response.iter_bytes())
    assert heard(data)[0] == pytest.approx(SECONDS, abs=0.12)
