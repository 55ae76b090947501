"""POST /v1/audio/speech and GET /v1/audio/voices."""

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from vllm_mock.media import sound, voice, voices
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.json_text import compact, to_bytes
from vllm_mock.routes.openai import headers
from vllm_mock.routes.openai.prepare import resolve_model
from vllm_mock.routes.openai.working import Work, working
from vllm_mock.routes.replies import Reply, json_reply, stream_reply

if TYPE_CHECKING:
    from vllm_mock.protocol.media import SpeechRequest
    from vllm_mock.services import Services

# How many tokens a model of sound makes for a second of it.
TOKENS_PER_SECOND = 12.5
_TOLD_CHARS = 100


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint."""

    def speech() -> Response:
        return _speech(services, request.environ)

    def all_voices() -> Response:
        return json_reply(compact({"voices": voices.OMNI, "uploaded_voices": []}))

    blueprint.add_url_rule("/v1/audio/speech", "speech", speech, methods=["POST"])
    blueprint.add_url_rule("/v1/audio/voices", "voices", all_voices, methods=["GET"])


def _speech(services: "Services", environ: dict[str, Any]) -> Response:
    from vllm_mock.protocol.media import SpeechRequest

    body = headers.read(environ, SpeechRequest)
    resolve_model(services, body.model)
    _check_voice(body)
    content_type = sound.CONTENT_TYPES[body.response_format]
    if body.events:
        return stream_reply(_begun(_events(services, environ, body)))
    if body.streamed:
        return Reply(_begun(_pieces(services, environ, body)), 200, content_type)
    with working(services, environ) as work:
        data = b"".join(_spoken(body))
        work.wait(voice.duration(body.input, body.speed or 1.0) * TOKENS_PER_SECOND)
    reply = Reply(data, 200, content_type)
    reply.headers["Content-Disposition"] = f"attachment; filename=speech.{body.response_format}"
    return reply


def _check_voice(body: "SpeechRequest") -> None:
    """A voice must be known, unless a recording tells how to speak. Raises ApiError."""
    if body.voice is None or body.ref_audio is not None or voices.is_known(body.voice):
        return
    known = ", ".join((*voices.OMNI, *voices.OPENAI))
    raise ApiError.bad_request(f"There is no voice {body.voice[:_TOLD_CHARS]!r}, only: {known}.", "voice")


def _spoken(body: "SpeechRequest") -> Iterator[bytes]:
    speed = body.speed or 1.0
    samples = round(voice.duration(body.input, speed) * voice.SAMPLE_RATE)
    parts = voice.spoken(body.input, body.voice or voices.DEFAULT, speed)
    return sound.encoded(parts, body.response_format, 2 * samples)


def _begun(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same chunks, the first of which exists already: a refusal must come before the headers."""
    first = next(chunks)

    def all_chunks() -> Iterator[bytes]:
        yield first
        yield from chunks

    return all_chunks()


def _pieces(services: "Services", environ: dict[str, Any], body: "SpeechRequest") -> Iterator[bytes]:
    """The file piece by piece, each when the model would have made it."""
    with working(services, environ) as work:
        yield from _paced(work, body)


def _paced(work: Work, body: "SpeechRequest") -> Iterator[bytes]:
    words = max(1, len(body.input.split()))
    seconds = voice.duration(body.input, body.speed or 1.0)
    for index, piece in enumerate(_spoken(body)):
        # FLAC comes in one piece, the others word by word.
        share = 1.0 if body.response_format == "flac" else min(1.0, index / words)
        work.wait(share * seconds * TOKENS_PER_SECOND)
        yield piece


def _events(services: "Services", environ: dict[str, Any], body: "SpeechRequest") -> Iterator[bytes]:
    """OpenAI's events: pieces of the file in base64, and at the end the usage."""
    with working(services, environ) as work:
        for piece in _paced(work, body):
            yield _event({"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()})
        asked = len(services.tokenizer.encode(body.input, add_special_tokens=False))
        made = round(voice.duration(body.input, body.speed or 1.0) * TOKENS_PER_SECOND)
        usage = {"input_tokens": asked, "output_tokens": made, "total_tokens": asked + made}
        yield _event({"type": "speech.audio.done", "usage": usage})


def _event(payload: dict[str, Any]) -> bytes:
    return to_bytes(f"data: {compact(payload)}\n\n")
