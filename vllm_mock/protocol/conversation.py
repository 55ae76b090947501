"""The messages of a request in the form that chat templates expect."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from pydantic import TypeAdapter, ValidationError

from vllm_mock.protocol import messages as kinds
from vllm_mock.protocol.errors import ApiError

# Part types whose text goes into the prompt, and the field that holds it.
_TEXT_FIELDS = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "refusal": "refusal",
    "thinking": "thinking",
    "tool_reference": "name",
}
_MEDIA_KINDS: dict[str, type] = {
    "image_url": kinds.ChatCompletionContentPartImageParam,
    "audio_url": kinds.ChatCompletionContentPartAudioParam,
    "video_url": kinds.ChatCompletionContentPartVideoParam,
}
_EMBEDS_TYPES = ("image_embeds", "audio_embeds", "video_embeds")
# Fields that tell what a part is when it has no type.
_MEDIA_FIELDS = (*_MEDIA_KINDS, "image_pil", "input_audio", *_EMBEDS_TYPES)
_PART_TYPES = sorted([*_TEXT_FIELDS, *_MEDIA_FIELDS, "input_image", "prompt_embeds"])

_INSTRUCTING_ROLES = ("system", "developer")

MediaPolicy = Callable[[str], str | None]


def refuse_media(model: str) -> MediaPolicy:
    """What a text-only model does with an image, audio or video part: refuse it, as vLLM does."""

    def refuse(part_type: str) -> str | None:
        if part_type in _EMBEDS_TYPES:
            raise ApiError.bad_request("The model is not multimodal.")
        raise ApiError.bad_request(f"{model} is not a multimodal model")

    return refuse


def conversation(
    messages: Sequence[Any],
    media: MediaPolicy,
    *,
    keep_developer: bool = False,
    keep_parts: bool = False,
) -> list[dict[str, Any]]:
    """The messages for the chat template; raises ApiError in vLLM's words.

    `media` gets the type of each part that is not text; the text it returns stands for the part (None: left
    out). `keep_developer`: the template knows the role "developer"; else these messages, and with them the
    system messages, become one system message in front. `keep_parts`: the template loops over content parts
    itself, else their texts are joined by newlines.
    """
    try:
        shown = [_message(message, media, keep_parts) for message in messages]
        for message in shown:
            if "tool_calls" in message:  # looked at when all contents are known to be good
                message["tool_calls"] = [_tool_call(call) for call in message["tool_calls"]]
    except (ValidationError, TypeError) as e:  # lazily validated parts and tool calls, Harmony messages
        raise ApiError.bad_request(str(e)) from None
    if keep_developer or all(message["role"] != "developer" for message in shown):
        return shown
    return _one_system_message(shown)


def _one_system_message(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    instructions = [message for message in messages if message["role"] in _INSTRUCTING_ROLES]
    others = [message for message in messages if message["role"] not in _INSTRUCTING_ROLES]
    if len(instructions) == 1:
        only = {name: value for name, value in instructions[0].items() if name != "tools"}
        return [only | {"role": "system"}, *others]
    texts = (_plain_text(message["content"]) for message in instructions)
    return [{"role": "system", "content": "\n\n".join(text for text in texts if text)}, *others]


def _plain_text(content: str | list[dict[str, str]]) -> str:
    return content if isinstance(content, str) else "\n".join(part["text"] for part in content)


def _message(message: Any, media: MediaPolicy, keep_parts: bool) -> dict[str, Any]:
    role = message["role"]
    reasoning = message.get("reasoning")
    if isinstance(reasoning, dict) and reasoning.get("type") == "prompt_embeds":
        _refuse_embeds(reasoning)
    content = _content(message.get("content"), media, keep_parts)
    if role == "tool" and keep_parts and all(part["type"] == "text" for part in content):
        content = _plain_text(content)
    shown: dict[str, Any] = {"role": role, "content": content}
    if role == "assistant":
        _add_assistant_fields(message, shown)
    elif role == "tool" and "tool_call_id" in message:
        shown["tool_call_id"] = message["tool_call_id"]
    elif role == "developer":
        shown["tools"] = message.get("tools")
    for name in ("name", "task"):
        if message.get(name) is not None:
            shown[name] = message[name]
    return shown


def _add_assistant_fields(message: Any, shown: dict[str, Any]) -> None:
    calls = message.get("tool_calls")
    calls = list(calls) if calls is not None else []
    if calls:
        shown["tool_calls"] = calls
    reasoning = message.get("reasoning")
    if reasoning is not None:
        shown["reasoning"] = reasoning
        shown["reasoning_content"] = reasoning


def _tool_call(call: Any) -> dict[str, Any]:
    """A call with its arguments as an object, which templates expect; {} when they are not one."""
    if call.get("type") != "function":
        text = "chat completions only support assistant tool_calls of type 'function'."
        raise ApiError.bad_request(text, "tool_calls")
    function = call["function"]
    return {**call, "function": {**function, "arguments": _arguments(function["arguments"])}}


def _arguments(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _content(content: Any, media: MediaPolicy, keep_parts: bool) -> Any:
    if isinstance(content, str) and not keep_parts:
        return content
    if content is None:
        content = ()
    given = [content] if isinstance(content, str) else list(content)
    texts = [part if isinstance(part, str) else _part_text(part, media) for part in given]
    if keep_parts:
        return [_kept_part(part, text) for part, text in zip(given, texts, strict=True) if text is not None]
    return "\n".join(text for text in texts if text)


def _kept_part(part: Any, text: str) -> dict[str, Any]:
    """A part for a template that loops over them; a reference to a tool stays one."""
    if isinstance(part, dict) and part.get("type") == "tool_reference":
        return {"type": "tool_reference", "name": text}
    return {"type": "text", "text": text}


def _part_text(part: dict[str, Any], media: MediaPolicy) -> str | None:
    part_type = part.get("type")
    media_field = next((name for name in _MEDIA_FIELDS if name in part), None)
    if part_type is None or part.get("uuid") is not None:
        if media_field is None:
            raise ApiError.bad_request("Missing 'type' field in multimodal part.", "type")
        return media(media_field)
    if not isinstance(part_type, str):
        raise ApiError.bad_request("Invalid 'type' field in multimodal part.", "type")
    field = _TEXT_FIELDS.get(part_type)
    if field is not None:
        return part.get(field)
    return _media_text(part, part_type, media)


def _media_text(part: dict[str, Any], part_type: str, media: MediaPolicy) -> str | None:
    if part_type not in _PART_TYPES:
        raise unsupported_part(part_type)
    if part_type == "prompt_embeds":
        _refuse_embeds(part)
    kind = _MEDIA_KINDS.get(part_type)
    if kind is not None:
        TypeAdapter(kind).validate_python(part)
    return media(part_type)


def unsupported_part(part_type: Any) -> ApiError:
    """What is said to a part of an unknown kind."""
    text = f"Unsupported chat content part type: {part_type!r}. Supported types: {', '.join(_PART_TYPES)}."
    return ApiError.bad_request(text, "type", part_type)


def _refuse_embeds(part: dict[str, Any]) -> NoReturn:
    if not part.get("data"):
        text = "prompt_embeds content part requires a non-empty `data` field with base64-encoded tensor bytes."
    else:
        text = "You must set `--enable-prompt-embeds` to input `prompt_embeds`"
    raise ApiError.bad_request(text, "prompt_embeds")
