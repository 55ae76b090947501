"""Chat answers that are spoken as well: `modalities` with "audio"."""

import base64
import time
import uuid
from typing import TYPE_CHECKING, Any, Protocol

from vllm_mock.media import sound, voice, voices
from vllm_mock.media.libraries import MissingLibrary
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.json_text import compact, to_bytes
from vllm_mock.routes.openai.runs import Run

if TYPE_CHECKING:
    from vllm_mock.protocol.chat import ChatCompletionRequest

EXPIRY_SECONDS = 3600
_FORMATS = {**{name: name for name in sound.FORMATS}, "pcm16": "pcm"}
_END = b"\n\n"


class Speaker:
    """How the answers of one request are spoken. Raises ApiError for what cannot be."""

    def __init__(self, audio: dict[str, Any]) -> None:
        self.format = audio.get("format") or "wav"
        self.voice = audio.get("voice") or voices.DEFAULT
        if isinstance(self.voice, dict):
            self.voice = self.voice.get("id")
        if self.format not in _FORMATS:
            raise ApiError.bad_request(f"audio.format must be one of {', '.join(_FORMATS)}.", "audio.format")
        if not isinstance(self.voice, str) or not voices.is_known(self.voice):
            raise ApiError.bad_request(f"There is no voice {self.voice!r}.", "audio.voice")

    def pieces(self, text: str) -> list[bytes]:
        """The file in pieces. Raises ApiError when a package is missing."""
        samples = round(voice.duration(text) * voice.SAMPLE_RATE)
        try:
            return list(sound.encoded(voice.spoken(text, self.voice), _FORMATS[self.format], 2 * samples))
        except MissingLibrary as missing:
            raise ApiError(501, str(missing), "NotImplementedError") from None

    def message(self, text: str) -> str:
        """The field `audio` of a message, as JSON text."""
        data = base64.b64encode(b"".join(self.pieces(text))).decode()
        return compact({**_begun(), "data": data, "transcript": text, "format": self.format})


def speaker(body: "ChatCompletionRequest") -> Speaker | None:
    """None where the request wants nothing spoken. Raises ApiError."""
    extra = body.model_extra
    if not extra or "modalities" not in extra:
        return None
    modalities, audio = extra["modalities"], extra.get("audio")
    if not isinstance(modalities, list) or "audio" not in modalities:
        return None
    return Speaker(audio if isinstance(audio, dict) else {})


def _begun() -> dict[str, Any]:
    return {"id": f"audio_{uuid.uuid4().hex}", "expires_at": int(time.time()) + EXPIRY_SECONDS}


def said(run: Run) -> str:
    """The text of an answer, without what was only thought and without calls of tools."""
    return run.plan.text if run.output is None else run.output.content or ""


class Renderer(Protocol):
    """What renders the text of a stream."""

    def render(self, choice: int, start: int, end: int) -> bytes: ...
    def end(self) -> bytes: ...


class SpokenStream:
    """A stream of text whose choices each get their sound before the chunk that finishes them.

    The sound is made beforehand: rendering must not take long.
    """

    def __init__(self, renderer: Renderer, runs: list[Run], speaker: Speaker, head: str) -> None:
        self._renderer = renderer
        self._lengths = [len(run.plan.token_ids) for run in runs]
        self._spoken = [_chunks(speaker, said(run), index, head) for index, run in enumerate(runs)]

    def render(self, choice: int, start: int, end: int) -> bytes:
        data = self._renderer.render(choice, start, end)
        if end < self._lengths[choice]:
            return data
        before, end_mark, last = data.removesuffix(_END).rpartition(_END)
        return before + end_mark + self._spoken[choice] + last + _END

    def end(self) -> bytes:
        return self._renderer.end()


def _chunks(speaker: Speaker, text: str, index: int, head: str) -> bytes:
    """The id and the transcript, the sound in pieces, and when it expires."""
    if not text:
        return b""
    begun = _begun()
    own = {"id": begun["id"]}
    deltas: list[dict[str, Any]] = [{**own, "transcript": text}]
    deltas += [{**own, "data": base64.b64encode(piece).decode()} for piece in speaker.pieces(text)]
    deltas.append(begun)
    return to_bytes(
        "".join(
            f'{head}{{"index":{index},"delta":{{"audio":{compact(delta)}}},"logprobs":null,"finish_reason":null}}]}}\n\n'
            for delta in deltas
        )
    )
