"""Bodies and events of the Messages API, keys in vLLM's order; keys without a value are left out."""

import json
import uuid
from dataclasses import dataclass
from typing import Any

from vllm_mock.output import ToolCall
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.json_text import compact, quote, to_bytes
from vllm_mock.protocol.usage import Usage

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


@dataclass(slots=True)
class Ending:
    """Why an answer ended: a `finish_reason` of a chat completion, its stop reason, whether tools are called."""

    finish_reason: str
    stop_reason: str | int | None
    calls_tools: bool

    @property
    def sequence(self) -> str | None:
        """The stop sequence that was met."""
        return self.stop_reason if isinstance(self.stop_reason, str) else None

    @property
    def reason(self) -> str | None:
        """Anthropic's name for it, if there is one."""
        if self.finish_reason == "stop" and self.sequence is not None:
            return "stop_sequence"
        if self.finish_reason == "stop" and self.calls_tools:  # a tool that the request names
            return "tool_use"
        return _STOP_REASONS.get(self.finish_reason)


def signature() -> str:
    """What stands for the proof that the thinking is the model's own."""
    return uuid.uuid4().hex


def thinking_block(thinking: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": thinking, "signature": signature()}


def text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def tool_use_block(call: ToolCall) -> dict[str, Any]:
    """Raises ApiError when the arguments are no object, as vLLM does."""
    try:
        arguments = json.loads(call.arguments)
    except ValueError:
        arguments = {}
    if not isinstance(arguments, dict):
        kind = type(arguments).__name__
        raise ApiError.bad_request(
            "1 validation error for AnthropicContentBlock\ninput\n  Input should be a valid dictionary "
            f"[type=dict_type, input_value={arguments!r}, input_type={kind}]\n"
            "    For further information visit https://errors.pydantic.dev/2.14/v/dict_type"
        )
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}


def usage(counts: Usage) -> str:
    """JSON text of `usage`: tokens found in the prefix cache, or new in it, are no input tokens where they are told."""
    created, read = counts.created_cache_tokens, counts.cached_tokens
    fresh = counts.prompt_tokens - (created or 0) - (read or 0)
    told = "" if created is None else f',"cache_creation_input_tokens":{created}'
    if read is not None:
        told += f',"cache_read_input_tokens":{read}'
    return f'{{"input_tokens":{fresh},"output_tokens":{counts.completion_tokens}{told}}}'


def message(
    response_id: str,
    model: str,
    content: list[dict[str, Any]],
    ending: Ending,
    counts: Usage,
    kv_transfer_params: str = "null",
) -> bytes:
    """A whole answer; `kv_transfer_params` is JSON text, left out if null."""
    reason = "" if ending.reason is None else f',"stop_reason":"{ending.reason}"'
    sequence = "" if ending.sequence is None else f',"stop_sequence":{quote(ending.sequence)}'
    transfer = "" if kv_transfer_params == "null" else f',"kv_transfer_params":{kv_transfer_params}'
    return to_bytes(
        f'{{"id":{quote(response_id)},"type":"message","role":"assistant","content":{compact(content)},'
        f'"model":{quote(model)}{reason}{sequence},"usage":{usage(counts)}{transfer}}}'
    )


def message_start(response_id: str, model: str, prompt_tokens: int) -> str:
    """The first event of a stream."""
    return (
        'event: message_start\ndata: {"type":"message_start","message":{'
        f'"id":{quote(response_id)},"type":"message","role":"assistant","content":[],"model":{quote(model)},'
        f'"stop_reason":null,"stop_sequence":null,"usage":{{"input_tokens":{prompt_tokens},"output_tokens":0}}}}}}\n\n'
    )


def block_start(index: int, block: dict[str, Any]) -> str:
    return (
        'event: content_block_start\ndata: {"type":"content_block_start",'
        f'"content_block":{compact(block)},"index":{index}}}\n\n'
    )


def block_delta_parts(index: int, kind: str, key: str) -> tuple[str, str]:
    """What stands before and after the quoted text of a delta."""
    before = f'event: content_block_delta\ndata: {{"type":"content_block_delta","delta":{{"type":"{kind}","{key}":'
    return before, f'}},"index":{index}}}\n\n'


def block_stop(index: int) -> str:
    return f'event: content_block_stop\ndata: {{"type":"content_block_stop","index":{index}}}\n\n'


def message_end(ending: Ending, counts: Usage) -> str:
    """The last two events of a stream."""
    return (
        'event: message_delta\ndata: {"type":"message_delta","delta":{'
        f'"stop_reason":{compact(ending.reason)},"stop_sequence":{compact(ending.sequence)}}},"usage":{usage(counts)}}}\n\n'
        'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )
