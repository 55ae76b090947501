"""POST /v1/audio/transcriptions and /v1/audio/translations."""

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request
from werkzeug.datastructures import FileStorage

from vllm_mock.engine import EngineRequest
from vllm_mock.media import recording, transcript
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.json_text import compact
from vllm_mock.routes.openai import forms, headers
from vllm_mock.routes.openai.prepare import resolve_model
from vllm_mock.routes.openai.runs import Run, Scheduling, collect, stream, submit
from vllm_mock.routes.openai.transcription_stream import TranscriptionStream
from vllm_mock.routes.openai.working import working
from vllm_mock.routes.replies import json_reply, stream_reply, text_reply

if TYPE_CHECKING:
    from vllm_mock.protocol.speech_to_text import TranscriptionRequest, TranslationRequest
    from vllm_mock.services import Services

    Form = TranscriptionRequest | TranslationRequest

GRANULARITIES = "timestamp_granularities[]"
_MIB = 1 << 20
# What a model like Whisper sees: the tokens that begin its answer, and frames of sound (per second).
_PROMPT_TOKENS = 4
_ENGINE_TOKENS_PER_SECOND = 50
_TOLD_TOKENS_PER_SECOND = 100
_CHUNKS = {"transcribe": "transcription.chunk", "translate": "translation.chunk"}
_SUBTITLES = {"srt": (transcript.srt, "application/x-subrip"), "vtt": (transcript.vtt, "text/vtt")}


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint."""

    def transcriptions() -> Response:
        return _answer(services, request.environ, "transcribe")

    def translations() -> Response:
        return _answer(services, request.environ, "translate")

    blueprint.add_url_rule("/v1/audio/transcriptions", "transcriptions", transcriptions, methods=["POST"])
    blueprint.add_url_rule("/v1/audio/translations", "translations", translations, methods=["POST"])


def _answer(services: "Services", environ: dict[str, Any], task: str) -> Response:
    from vllm_mock.protocol.parsing import validate
    from vllm_mock.protocol.sampling import check_few_values
    from vllm_mock.protocol.speech_to_text import (
        TranscriptionRequest,
        TranslationRequest,
        check_answer,
        check_language,
    )

    kind: Any = TranscriptionRequest if task == "transcribe" else TranslationRequest
    form = validate(forms.form_data(environ, (GRANULARITIES,)), kind)
    data = _content(services, form.file)
    if form.stream and form.use_beam_search:
        raise ApiError.bad_request("Streaming is not currently supported with beam search")
    model = resolve_model(services, form.model)
    check_answer(form, model)
    check_language(form.language)
    check_language(form.to_language)
    duration = _duration(services, environ, data)
    limit = services.limits.max_model_len
    max_tokens = limit if form.max_completion_tokens is None else min(limit, form.max_completion_tokens)
    check_few_values(form, max_tokens)
    scheduling = headers.speech_scheduling(environ, task)
    runs = _start(services, data, duration, max_tokens, scheduling, model)
    if form.stream:
        told = _PROMPT_TOKENS + math.ceil(duration * _TOLD_TOKENS_PER_SECOND)
        force = services.settings.enable_force_include_usage
        asked = form.model or model
        renderer = TranscriptionStream(runs, form, _CHUNKS[task], scheduling.response_id, asked, told, force)
        return stream_reply(stream(services, runs, renderer.render, renderer.end, headers.connection(environ)))
    collect(services, runs, headers.connection(environ))
    return _whole(services, form, runs, duration, task)


def _content(services: "Services", file: Any) -> bytes:
    limit = services.settings.max_audio_clip_filesize_mb
    if not isinstance(file, FileStorage):
        raise ApiError(422, "Expected 'file' to be a file-like object.")
    size = forms.size_of(file)
    if size > limit * _MIB:
        raise ApiError.bad_request("Maximum file size exceeded", "audio_filesize_mb", size / _MIB)
    return file.read()


def _duration(services: "Services", environ: dict[str, Any], data: bytes) -> float:
    """The length of the recording in seconds. Raises ApiError."""
    limit = services.settings.max_audio_decode_duration_s
    try:
        with working(services, environ):
            found = recording.measure(data)
    except recording.BadRecording:
        raise ApiError.bad_request("Invalid or unsupported audio file.") from None
    if found.duration > limit:
        raise ApiError.bad_request(
            f"Audio exceeds maximum allowed duration of {limit}s (file contains {found.duration:.1f}s at "
            f"{found.rate}Hz). Set VLLM_MAX_AUDIO_DECODE_DURATION_S to increase this limit."
        )
    return found.duration


def _start(
    services: "Services", data: bytes, duration: float, max_tokens: int, scheduling: Scheduling, model: str
) -> list[Run]:
    """One sequence per clip, as vLLM does; the same recording is always heard in the same way."""
    from vllm_mock.protocol.stages import CheckedPrompt

    key = int.from_bytes(hashlib.sha256(data).digest()[:8], "big")
    adapter = services.models.adapter(model)
    vocabulary = services.limits.vocab_size
    prepared = []
    requests = []
    for index, (_, length) in enumerate(transcript.clips(duration)):
        plan = services.generator.spoken(key + index, transcript.words_in(length))
        if len(plan.token_ids) > max_tokens:
            del plan.token_ids[max_tokens:], plan.deltas[max_tokens:]
            plan.finish_reason = "length"
        frames = _PROMPT_TOKENS + round(length * _ENGINE_TOKENS_PER_SECOND)
        # Tokens that tell recordings apart, so that only the same one is found in the prefix cache.
        prompt = CheckedPrompt([(key + index + position) % vocabulary for position in range(frames)], None, max_tokens)
        prepared.append((prompt, plan))
        requests.append(
            EngineRequest(
                scheduling.response_id,
                prompt.token_ids,
                plan.token_ids,
                max_tokens,
                lora_name=None if adapter is None else adapter.name,
                lora_path="" if adapter is None else adapter.path,
                lora_id=None if adapter is None else adapter.id,
                arrival=scheduling.arrival,
                finish_reason=plan.finish_reason,
                delay=scheduling.delay,
                failure=scheduling.failure,
            )
        )
    handles = submit(services, requests)
    return [Run(prompt, plan, handle) for (prompt, plan), handle in zip(prepared, handles, strict=True)]


def _whole(services: "Services", form: "Form", runs: Sequence[Run], duration: float, task: str) -> Response:
    shape = form.response_format
    text = " ".join(run.plan.text for run in runs)
    if shape == "text":
        return text_reply(f"{text}\n", "text/plain; charset=utf-8")
    if shape == "json":
        body: dict[str, Any] = {"text": text}
        if task == "transcribe":
            body["usage"] = {"type": "duration", "seconds": math.ceil(duration)}
        return json_reply(compact(body))
    words = [
        word
        for run, (start, length) in zip(runs, transcript.clips(duration), strict=True)
        for word in transcript.timed(run.plan.text, start, length)
    ]
    segments = transcript.segments(words)
    if shape in _SUBTITLES:
        write, content_type = _SUBTITLES[shape]
        return text_reply(write(segments), f"{content_type}; charset=utf-8")
    return json_reply(compact(_verbose(services, form, text, words, segments, duration)))


def _verbose(
    services: "Services",
    form: "Form",
    text: str,
    words: Sequence[transcript.Word],
    segments: Sequence[transcript.Segment],
    duration: float,
) -> dict[str, Any]:
    def encode(part: str) -> list[int]:
        return services.tokenizer.encode(part, add_special_tokens=False)

    wanted = getattr(form, "timestamp_granularities", ())
    return {
        "duration": duration,
        "language": form.language or "en",
        "text": text,
        "segments": [
            transcript.verbose_segment(number, segment, form.temperature, encode)
            for number, segment in enumerate(segments)
        ],
        "words": [{"end": word.end, "start": word.start, "word": word.text} for word in words]
        if "word" in wanted
        else None,
    }
