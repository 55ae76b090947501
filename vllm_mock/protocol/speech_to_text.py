"""The forms of /v1/audio/transcriptions and /v1/audio/translations, checked as vLLM checks them."""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from vllm_mock.protocol.common import OPEN, Int64, XArg, unchanged
from vllm_mock.protocol.errors import ApiError

Format = Literal["json", "text", "srt", "verbose_json", "vtt"]
LANGUAGES = (
    *("af", "ar", "hy", "az", "be", "bs", "bg", "ca", "zh", "hr", "cs", "da", "nl", "en", "et", "fi", "fr", "gl", "de"),
    *("el", "he", "hi", "hu", "is", "id", "it", "ja", "kn", "kk", "ko", "lv", "lt", "mk", "ms", "mr", "mi", "ne", "no"),
    *("fa", "pl", "pt", "ro", "ru", "sr", "sk", "sl", "es", "sw", "sv", "tl", "ta", "th", "tr", "uk", "ur", "vi", "cy"),
)
_STREAM_OPTIONS = ("stream_include_usage", "stream_continuous_usage_stats")


class _SpeechToText(BaseModel):
    model_config = OPEN

    @classmethod
    def precheck(cls, data: dict[str, Any]) -> None:
        """What vLLM looks at before the fields. Raises ApiError."""
        # FastAPI fills in what a form leaves out, which shows where a complaint counts the fields.
        for name, field in cls.model_fields.items():
            if not field.is_required() and (default := field.get_default(call_default_factory=True)) is not None:
                data.setdefault(field.alias or name, default)
        if isinstance(data.get("file"), str):
            raise ApiError(422, "Expected 'file' to be a file-like object, not 'str'.")
        asked = [option for option in _STREAM_OPTIONS if data.get(option)]
        if asked and not data.get("stream"):
            text = "Stream options can only be defined when `stream=True`."
            raise ApiError.bad_request(text, asked[0])
        arguments = data.get("vllm_xargs")
        if isinstance(arguments, str):
            try:
                data["vllm_xargs"] = json.loads(arguments)
            except json.JSONDecodeError as e:
                text = f"Failed to parse vllm_xargs. Must be valid JSON: {e}"
                raise ApiError.bad_request(text, "vllm_xargs") from None


class TranscriptionRequest(_SpeechToText):
    """Fields in vLLM's order. `file` is the upload."""

    file: Any
    model: str | None = None
    language: str | None = None
    hotwords: str | None = None
    prompt: str = ""
    response_format: Annotated[Format, unchanged] | Annotated[Literal["diarized_json"], unchanged] = "json"
    timestamp_granularities: list[Literal["word", "segment"]] = Field(
        default_factory=list, alias="timestamp_granularities[]"
    )
    stream: bool | None = False
    stream_include_usage: bool | None = False
    stream_continuous_usage_stats: bool | None = False
    vllm_xargs: dict[str, XArg | list[XArg]] | None = None
    to_language: str | None = None
    use_beam_search: bool = False
    n: int = 1
    length_penalty: float = 1.0
    include_stop_str_in_output: bool = False
    temperature: float = 0.0
    watermarking: bool | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: Int64 | None = None
    frequency_penalty: float | None = 0.0
    repetition_penalty: float | None = None
    presence_penalty: float | None = 0.0
    max_completion_tokens: int | None = None


class TranslationRequest(_SpeechToText):
    """Fields in vLLM's order."""

    file: Any
    model: str | None = None
    prompt: str = ""
    response_format: Format = "json"
    use_beam_search: bool = False
    n: int = 1
    length_penalty: float = 1.0
    include_stop_str_in_output: bool = False
    seed: Int64 | None = None
    temperature: float = 0.0
    watermarking: bool | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    frequency_penalty: float | None = 0.0
    repetition_penalty: float | None = None
    presence_penalty: float | None = 0.0
    language: str | None = None
    hotwords: str | None = None
    to_language: str | None = None
    stream: bool | None = False
    stream_include_usage: bool | None = False
    stream_continuous_usage_stats: bool | None = False
    max_completion_tokens: int | None = None
    vllm_xargs: dict[str, XArg | list[XArg]] | None = None


def check_language(language: str | None) -> None:
    """Raises ApiError for what is no code of a language that a speech model knows."""
    if language is not None and language not in LANGUAGES:
        raise ApiError.bad_request(f"Unsupported language: {language!r}.  Must be one of {list(LANGUAGES)}.")


def check_answer(request: TranscriptionRequest | TranslationRequest, model: str) -> None:
    """What vLLM refuses of the form of an answer. Raises ApiError."""
    shape = request.response_format
    if shape == "diarized_json":
        raise ApiError.bad_request(f"Currently do not support diarized_json for {model}")
    if request.stream and shape not in ("json", "text"):
        raise ApiError.bad_request(f"{shape} format doesn't support streaming case")
