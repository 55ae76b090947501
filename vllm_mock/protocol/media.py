"""The requests of the routes that answer with pictures, films and speech: OpenAI's fields and vllm-omni's.

None of them is in vLLM itself. Fields that change nothing here are taken whatever they hold, as extra ones.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, Field

from vllm_mock.protocol.common import OPEN, Int64
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.sizes import parse_size

# OpenAI's limits.
MAX_PROMPT_CHARS = 32_000
MAX_INPUT_CHARS = 4096
MAX_IMAGES = 10
MAX_SECONDS = 60
MAX_FPS = 60


def _size(value: Any) -> Any:
    """Refused with its own words: a pattern would not say how large a picture may be."""
    if isinstance(value, str) and value != "auto":
        parse_size(value)
    return value


def _from_json(value: Any) -> Any:
    """Forms carry objects as JSON texts."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


Size = Annotated[str | None, BeforeValidator(_size)]
Object = Annotated[dict[str, Any] | None, BeforeValidator(_from_json)]
Prompt = Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARS)]
Steps = Annotated[int, Field(ge=1, le=200)]
Scale = Annotated[float, Field(ge=0.0, le=20.0)]
ImageFormat = Literal["png", "jpeg", "webp"]


class Diffusion(BaseModel):
    """What vllm-omni adds to all requests of diffusion models."""

    model_config = OPEN

    negative_prompt: str | None = None
    num_inference_steps: Steps | None = None
    guidance_scale: Scale | None = None
    true_cfg_scale: Scale | None = None
    seed: int | None = None
    lora: Object = None
    extra_params: Object = None
    user: str | None = None


class ImageRequest(Diffusion):
    """POST /v1/images/generations; the forms of /v1/images/edits have the same fields beside their files."""

    prompt: Prompt
    model: str | None = None
    n: int = Field(default=1, ge=1, le=MAX_IMAGES)
    size: Size = None
    response_format: Literal["url", "b64_json", "file"] | None = None
    output_format: ImageFormat | None = None
    quality: str | None = None
    background: str | None = None
    stream: bool | None = False
    partial_images: int | None = Field(default=0, ge=0, le=3)


class VideoParams(BaseModel):
    model_config = OPEN

    width: int | None = Field(default=None, ge=1)
    height: int | None = Field(default=None, ge=1)
    num_frames: int | None = Field(default=None, ge=1)
    fps: int | None = Field(default=None, ge=1, le=MAX_FPS)


class VideoRequest(Diffusion, VideoParams):
    """POST /v1/videos and /v1/videos/sync, as JSON or as a form."""

    prompt: Prompt
    model: str | None = None
    seconds: Annotated[str, Field(pattern=r"^[1-9]\d*$")] | None = None
    size: Annotated[str, Field(pattern=r"^\d+x\d+$"), BeforeValidator(_size)] | None = None
    quality: str | None = None
    video_params: Annotated[VideoParams | None, BeforeValidator(_from_json)] = None
    guidance_scale_2: Scale | None = None
    boundary_ratio: float | None = Field(default=None, ge=0.0, le=1.0)

    @classmethod
    def precheck(cls, data: dict[str, Any]) -> None:
        # Clients send numbers as well, although OpenAI's field is a text.
        if isinstance(data.get("seconds"), int) and not isinstance(data["seconds"], bool):
            data["seconds"] = str(data["seconds"])


class VideoGenerationRequest(BaseModel):
    """POST /v1/video/generations, AIBrix's route; `duration` is in seconds."""

    model_config = OPEN

    prompt: Prompt
    model: str | None = None
    duration: float = Field(default=5, gt=0, le=MAX_SECONDS)
    fps: int = Field(default=24, ge=1, le=MAX_FPS)
    size: Annotated[str, BeforeValidator(_size)] = "1280x720"
    response_format: Literal["url", "b64_json"] = "url"


def _voice(value: Any) -> Any:
    """A name, or an object with the id of one."""
    if isinstance(value, dict):
        if "id" not in value:
            raise ApiError.bad_request("A voice object needs an `id`.", "voice")
        return value["id"]
    return value


class SpeechRequest(BaseModel):
    """POST /v1/audio/speech."""

    model_config = OPEN

    input: str = Field(min_length=1, max_length=MAX_INPUT_CHARS)
    model: str | None = None
    voice: Annotated[str | None, BeforeValidator(_voice)] = Field(
        default=None, validation_alias=AliasChoices("voice", "speaker")
    )
    instructions: str | None = None
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: float | None = Field(default=1.0, ge=0.25, le=4.0)
    stream_format: Literal["sse", "audio"] | None = None
    stream: bool = False
    task_type: Literal["CustomVoice", "VoiceDesign", "Base"] | None = None
    language: str | None = None
    ref_audio: str | list[str] | None = None
    ref_text: str | None = None
    max_new_tokens: int | None = Field(default=None, ge=1, le=2**63 - 1)
    seed: Int64 | None = None

    @property
    def events(self) -> bool:
        """Whether the answer is a stream of server-sent events."""
        return (self.stream or self.stream_format == "sse") and self.stream_format != "audio"

    @property
    def streamed(self) -> bool:
        return self.stream or self.stream_format is not None
