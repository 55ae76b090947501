"""Chat completions of models that draw: the answer is a picture, as vLLM-Omni and AIBrix's mock give one."""

import base64
import re
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flask import Response

from vllm_mock.media import picture
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.json_text import compact
from vllm_mock.protocol.sizes import MAX_SIDE
from vllm_mock.protocol.usage import Usage
from vllm_mock.routes.openai import headers
from vllm_mock.routes.openai.prepare import resolve_model
from vllm_mock.routes.openai.working import working
from vllm_mock.routes.replies import json_reply

if TYPE_CHECKING:
    from vllm_mock.protocol.chat import ChatCompletionRequest
    from vllm_mock.services import Services

DEFAULT_SIDE = 1024
DEFAULT_STEPS = 20
_DRAWING_MODEL = re.compile(r"(?:^|[^a-z])(?:image|edit(?![a-z]))|diffusion")
_DIFFUSION_FIELDS = ("height", "width", "num_inference_steps")


def is_wanted(services: "Services", body: "ChatCompletionRequest") -> bool:
    """Whether a request asks for a picture: by its model's name, or by what only such a model knows."""
    if body.stream:
        return False
    extra = body.model_extra
    if extra and any(extra.get(name) for name in _DIFFUSION_FIELDS):
        return True
    return _draws(body.model or services.models.base_name)


@lru_cache(maxsize=256)
def _draws(model: str) -> bool:
    return _DRAWING_MODEL.search(model.lower()) is not None


def answer(services: "Services", environ: dict[str, Any], body: "ChatCompletionRequest") -> Response:
    """Draw the last user message. Raises ApiError."""
    model = resolve_model(services, body.model)
    response_id = headers.scheduling(environ, "chatcmpl", body).response_id
    extra = body.model_extra or {}
    width, height = (_count(extra, name, DEFAULT_SIDE, MAX_SIDE) for name in ("width", "height"))
    steps = _count(extra, "num_inference_steps", DEFAULT_STEPS, 200)
    prompt, source = _asked(body.messages)
    with working(services, environ) as work:
        try:
            image = picture.draw(prompt, width, height, source=source)
        except picture.BadPicture as refusal:
            raise ApiError.bad_request(str(refusal), "messages") from None
        data = base64.b64encode(picture.encoded(image, "png")).decode()
        work.wait(steps)
    content = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}]
    nothing = dict.fromkeys(("refusal", "annotations", "audio", "function_call", "reasoning"))
    choice = {
        "index": 0,
        "message": {"role": services.settings.response_role, "content": content, **nothing},
        "logprobs": None,
        "finish_reason": "stop",
        "stop_reason": None,
    }
    usage = Usage(len(services.tokenizer.encode(prompt, add_special_tokens=False)), 0)
    head = {"id": response_id, "object": "chat.completion", "created": int(time.time()), "model": model}
    return json_reply(f'{compact({**head, "choices": [choice]})[:-1]},"usage":{usage.body()}}}')


def _count(extra: dict[str, Any], name: str, default: int, most: int) -> int:
    value = extra.get(name)
    if value is None:
        return default
    if type(value) is not int or not 1 <= value <= most:
        raise ApiError.bad_request(f"{name} must be an integer from 1 to {most}.", name, value)
    return value


def _asked(messages: Any) -> tuple[str, bytes | None]:
    """The text of the last user message, and the last picture of all."""
    prompt, source = "", None
    for message in messages:
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
        texts = [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
        if message.get("role") == "user":
            prompt = " ".join(texts)
        for part in parts:
            if isinstance(part, dict) and part.get("type") == "image_url":
                source = _embedded(part) or source
    return prompt, source


def _embedded(part: dict[str, Any]) -> bytes | None:
    """The picture of a data URL; None for one elsewhere, which this server does not fetch."""
    url = part.get("image_url")
    url = url.get("url") if isinstance(url, dict) else url
    head, _, encoded = str(url).partition(";base64,")
    if not head.startswith("data:"):
        return None
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:
        raise ApiError.bad_request("The data URL is not valid base64.", "messages") from None
