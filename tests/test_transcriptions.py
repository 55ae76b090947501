"""Transcriptions and translations: vLLM's refusals, shapes, times that fit the recording, every format of sound."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import openai
import pytest
import requests
from media_support import converted, recording, silence
from server import INSTANT, TINY, Server, ServerPool

REFUSALS = [
    json.loads(line) for line in (Path(__file__).parent / "contract" / "speech_refusals.jsonl").read_text().splitlines()
]
SECONDS = 4.4
# 2.5 words a second.
WORDS = 11
FILES = {
    "s.wav": recording(SECONDS),
    "junk.bin": b"not audio at all",
    "empty.bin": b"",
    "p.png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
}
PLAIN = "/v1/audio/transcriptions"
ENGLISH = "/v1/audio/translations"


def post(server: Server, path: str = PLAIN, data: bytes = FILES["s.wav"], **fields: Any) -> requests.Response:
    return requests.post(server.base_url + path, data=fields, files={"file": ("s.wav", data)}, timeout=30)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: re.sub(r"\W+", "-", str(refusal["fields"]))[:50])
def test_refusals_are_those_of_vllm(refusal: dict[str, Any], tiny: Server) -> None:
    url = tiny.base_url + refusal["path"]
    if refusal["content_type"] or not (refusal["fields"] or refusal["files"]):
        headers = {"Content-Type": refusal["content_type"]} if refusal["content_type"] else {}
        reply = requests.post(url, data=refusal["body"], headers=headers, timeout=30)
    else:
        parts: list[Any] = [(name, (None, value)) for name, value in refusal["fields"]]
        parts += [(name, (file, FILES[file])) for name, file in refusal["files"]]
        reply = requests.post(url, files=parts, timeout=30)
    assert (reply.status_code, reply.json()) == (refusal["status"], refusal["answer"])


def test_too_large_and_too_long_files(tiny: Server) -> None:
    error = post(tiny, data=bytes(27_000_000)).json()["error"]
    assert error["message"] == "Maximum file size exceeded (parameter=audio_filesize_mb, value=25.74920654296875)"
    assert (error["param"], error["code"]) == ("audio_filesize_mb", 400)
    error = post(tiny, data=silence(700)).json()["error"]
    assert error["message"] == (
        "Audio exceeds maximum allowed duration of 600s (file contains 700.0s at 8000Hz). "
        "Set VLLM_MAX_AUDIO_DECODE_DURATION_S to increase this limit."
    )


def test_limits_come_from_vllms_variables(servers: ServerPool) -> None:
    limits = {"VLLM_MAX_AUDIO_CLIP_FILESIZE_MB": "1", "VLLM_MAX_AUDIO_DECODE_DURATION_S": "5"}
    server = servers.get(*TINY, *INSTANT, environ=limits)
    assert "file size" in post(server, data=bytes(1_100_000)).json()["error"]["message"]
    assert "duration of 5s" in post(server, data=silence(6)).json()["error"]["message"]
    assert post(server, data=silence(4)).status_code == 200


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [
        ("wav", "pcm_s16le", 44_100),
        ("mp3", "libmp3lame", 44_100),
        ("flac", "flac", 16_000),
        ("ogg", "libopus", 48_000),
        ("adts", "aac", 24_000),
        ("mp4", "aac", 24_000),
        ("webm", "libopus", 48_000),
    ],
)
def test_the_duration_is_read_from_the_file(container: str, codec: str, rate: int, server: Server) -> None:
    data = converted(recording(SECONDS), container, codec, rate)
    body = post(server, data=data, response_format="verbose_json").json()
    # Compression pads up to two frames.
    assert body["duration"] == pytest.approx(SECONDS, abs=0.1)
    assert len(body["text"].split()) == WORDS


def test_a_recording_without_samples_as_aibrixs_client_sends_it(server: Server) -> None:
    body = post(server, data=silence(0)).json()
    assert (len(body["text"].split()), body["usage"]["seconds"]) == (1, 0)
    body = post(server, data=silence(0), response_format="verbose_json").json()
    assert [(segment["start"], segment["end"]) for segment in body["segments"]] == [(0.0, 0.0)]


def test_json(server: Server) -> None:
    body = post(server).json()
    assert list(body) == ["text", "usage"]
    assert body["usage"] == {"type": "duration", "seconds": 5}
    assert len(body["text"].split()) == WORDS
    assert post(server).json() == body
    assert post(server, data=recording(SECONDS, 8_000)).json()["text"] != body["text"]
    assert list(post(server, ENGLISH).json()) == ["text"]


def test_text_and_subtitles(server: Server) -> None:
    text = post(server).json()["text"]
    plain = post(server, response_format="text")
    assert (plain.text, plain.headers["content-type"]) == (f"{text}\n", "text/plain; charset=utf-8")
    cue = r"(\d\d:\d\d:\d\d{mark}\d{{3}}) --> (\d\d:\d\d:\d\d{mark}\d{{3}})\n(.+)\n"
    for shape, mark, head in (("srt", ",", "1\n"), ("vtt", ".", "WEBVTT\n\n")):
        subtitles = post(server, response_format=shape).text
        assert subtitles.startswith(head)
        cues = re.findall(cue.format(mark=re.escape(mark)), subtitles)
        assert " ".join(said for _, _, said in cues) == text
        assert cues[0][0] == f"00:00:00{mark}000"
        assert cues[-1][1] == f"00:00:04{mark}400"


def test_verbose_json(server: Server) -> None:
    fields = {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"], "language": "de"}
    body = post(server, data=recording(70, 8_000), **fields).json()
    assert list(body) == ["duration", "language", "text", "segments", "words"]
    assert (body["duration"], body["language"]) == (70.0, "de")
    words, segments = body["words"], body["segments"]
    assert " ".join(word["word"] for word in words) == body["text"]
    assert len(words) == 175
    for parts in (words, segments):
        assert all(part["start"] < part["end"] for part in parts)
        assert all(one["end"] <= other["start"] for one, other in itertools.pairwise(parts))
        assert (parts[0]["start"], parts[-1]["end"]) == (0.0, 70.0)
    assert [segment["id"] for segment in segments] == list(range(len(segments)))
    assert {segment["seek"] for segment in segments} == {0, 30, 60}
    keys = "id avg_logprob compression_ratio end no_speech_prob seek start temperature text tokens"
    assert list(segments[0]) == keys.split()
    tokens = requests.post(f"{server.base_url}/detokenize", json={"tokens": segments[0]["tokens"]}, timeout=30).json()
    assert tokens["prompt"] == segments[0]["text"]
    assert post(server, response_format="verbose_json").json()["words"] is None


def test_streams_of_several_clips_come_in_order(server: Server) -> None:
    data = recording(70, 8_000)
    text = post(server, data=data).json()["text"]
    fields = {"stream": "true", "stream_include_usage": "true", "stream_continuous_usage_stats": "true"}
    reply = post(server, data=data, model="llama2-7b", **fields)
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = reply.text.removesuffix("\n\n").split("\n\n")
    assert events[-1] == "data: [DONE]"
    *chunks, last = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    assert {chunk["object"] for chunk in chunks} == {"transcription.chunk"}
    assert re.fullmatch(r"transcribe-[0-9a-f]{16}", chunks[0]["id"])
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks) == text
    assert list(chunks[0]) == ["id", "object", "created", "model", "choices", "usage"]
    finishes = [chunk["choices"][0] for chunk in chunks if "finish_reason" in chunk["choices"][0]]
    assert [finish["finish_reason"] for finish in finishes] == ["stop"] * 3
    assert last["choices"] == []
    assert last["usage"]["prompt_tokens"] == 4 + 7000
    assert last["usage"]["completion_tokens"] >= len(chunks)
    assert chunks[0]["usage"]["completion_tokens"] == 1


def test_translation_stream_and_bounded_answer(server: Server) -> None:
    reply = post(server, ENGLISH, stream="true", max_completion_tokens="3")
    chunks = [json.loads(event.removeprefix("data: ")) for event in reply.text.strip().split("\n\n")[:-1]]
    assert {chunk["object"] for chunk in chunks} == {"translation.chunk"}
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


def test_openai_sdk(client: openai.OpenAI) -> None:
    file = ("s.wav", FILES["s.wav"])
    answer = client.audio.transcriptions.create(model="llama2-7b", file=file, language="en")
    assert len(answer.text.split()) == WORDS
    verbose: Any = client.audio.transcriptions.create(
        model="llama2-7b", file=file, response_format="verbose_json", timestamp_granularities=["word"]
    )
    assert float(verbose.duration) == SECONDS
    assert [word.word for word in verbose.words] == answer.text.split()
    assert (
        client.audio.transcriptions.create(model="llama2-7b", file=file, response_format="text") == f"{answer.text}\n"
    )
    chunks: Any = list(client.audio.transcriptions.create(model="llama2-7b", file=file, stream=True))
    assert "".join(chunk.choices[0]["delta"]["content"] for chunk in chunks) == answer.text
    assert client.audio.translations.create(model="llama2-7b", file=file).text


def test_transcriptions_are_requests_of_the_engine(tiny: Server) -> None:
    before = tiny.gauge("vllm:request_generation_tokens_sum")
    text = post(tiny).json()["text"]
    # A token per character, and the end.
    assert tiny.gauge("vllm:request_generation_tokens_sum") - before == len(text) + 1
    assert 'handler="/v1/audio/transcriptions"' in tiny.get("/metrics").body.decode()
