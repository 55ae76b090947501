"""From Anthropic's messages to those of a chat completion, as vLLM translates them."""

import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

from vllm_mock.protocol.anthropic.request import AnthropicContentBlock, AnthropicMessage
from vllm_mock.protocol.errors import ApiError

# Some clients put a line for accounting in front of their system prompt; it would spoil the prefix cache.
_BILLING = "x-anthropic-billing-header"

Message = dict[str, Any]


def chat_messages(
    system: str | Sequence[AnthropicContentBlock] | None, messages: Sequence[AnthropicMessage]
) -> list[Message]:
    """The whole conversation. Raises ApiError."""
    translated = _system(system)
    for message in messages:
        if message.role == "system":
            translated += _system_turn(message.content)
        elif isinstance(message.content, str):
            translated.append({"role": message.role, "content": message.content})
        elif message.role == "user":
            translated += _user_turn(message.content)
        else:
            translated.append(_assistant_turn(message.content))
    return translated


def _system(system: str | Sequence[AnthropicContentBlock] | None) -> list[Message]:
    if not system:
        return []
    if isinstance(system, str):
        text = system.partition("\n")[2] if system.startswith(_BILLING) else system
        return [{"role": "system", "content": text or None}]
    return _system_turn(system)


def _system_turn(content: str | Sequence[AnthropicContentBlock]) -> list[Message]:
    """At most one message; changes of tools in it are looked at elsewhere."""
    if isinstance(content, str):
        texts: Iterable[str | None] = [content]
    else:
        texts = [block.text for block in content if block.type == "text"]
    text = "".join(text for text in texts if text and not text.startswith(_BILLING))
    return [{"role": "system", "content": text}] if text else []


def _user_turn(blocks: Sequence[AnthropicContentBlock]) -> list[Message]:
    """Results of tools are messages of their own, before what the user says."""
    messages: list[Message] = []
    parts: list[dict[str, Any]] = []
    for block in blocks:
        if block.type == "text" and block.text:
            parts.append(_text_part(block.text))
        elif block.type == "image" and block.source:
            parts.append(_image_part(block.source))
        elif block.type == "tool_result":
            messages += _tool_result(block)
    if parts:
        messages.append({"role": "user", "content": parts})
    return messages


def _tool_result(block: AnthropicContentBlock) -> list[Message]:
    call_id = block.tool_use_id or ""
    if not isinstance(block.content, list):
        return [{"role": "tool", "tool_call_id": call_id, "content": block.content or ""}]
    texts: list[Any] = []
    images: list[dict[str, Any]] = []
    references: list[dict[str, Any]] = []
    for part in block.content:
        kind = part.get("type")
        if kind == "text":
            texts.append(part.get("text", ""))
        elif kind == "image" and part.get("source"):
            images.append(_image_part(part["source"]))
        elif kind == "tool_reference" and part.get("tool_name"):
            references.append({"type": "tool_reference", "name": part["tool_name"]})
    messages: list[Message] = [{"role": "tool", "tool_call_id": call_id, "content": _joined(texts)}]
    if references:
        messages.append({"role": "tool", "tool_call_id": call_id, "content": references})
    if images:
        messages.append({"role": "user", "content": images})
    return messages


def _joined(texts: list[Any]) -> str:
    try:
        return "\n".join(texts)
    except TypeError as e:  # nobody has checked the parts of a result
        raise ApiError.bad_request(str(e)) from None


def _assistant_turn(blocks: Sequence[AnthropicContentBlock]) -> Message:
    parts: list[dict[str, Any]] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    for block in blocks:
        if block.type == "text" and block.text:
            parts.append(_text_part(block.text))
        elif block.type == "image" and block.source:
            parts.append(_image_part(block.source))
        elif block.type == "thinking" and block.thinking:
            thoughts.append(block.thinking)
        elif block.type == "tool_use":
            calls.append(_tool_call(block))
        elif block.type == "tool_result":
            told = str(block.content) if block.content else ""
            parts.append(_text_part(f"Tool result: {told}"))
    message: Message = {"role": "assistant"}
    if parts:
        message["content"] = parts
    if thoughts:
        message["reasoning"] = "".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    return message


def _tool_call(block: AnthropicContentBlock) -> dict[str, Any]:
    return {
        "id": block.id or f"call_{int(time.time())}",
        "type": "function",
        "function": {"name": block.name or "", "arguments": json.dumps(block.input or {})},
    }


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _image_part(source: Any) -> dict[str, Any]:
    """An image by its address; one that comes with the request becomes a data URL."""
    described = source if isinstance(source, dict) else {}
    url = described.get("url") or ""
    if described.get("type") != "url":
        url = f"data:{described.get('media_type', 'image/jpeg')};base64,{described.get('data', '')}"
    return {"type": "image_url", "image_url": {"url": url}}
