"""From the items of a Responses request to the messages of a chat request, as vLLM turns one into the other."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vllm_mock.protocol.chat import ChatCompletionRequest
from vllm_mock.protocol.conversation import unsupported_part
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.limits import Limits
from vllm_mock.protocol.parsing import validate
from vllm_mock.protocol.responses import FunctionTool, ToolChoiceAllowed, ToolChoiceFunction

if TYPE_CHECKING:
    from vllm_mock.protocol.responses import ResponsesRequest

Message = dict[str, Any]

# Parameters that both APIs have under one name.
_SAME = (
    *("logit_bias", "parallel_tool_calls", "include_reasoning", "temperature", "top_p", "top_k", "min_p", "seed"),
    *("skip_special_tokens", "spaces_between_special_tokens", "include_stop_str_in_output", "presence_penalty"),
    *("frequency_penalty", "priority", "cache_salt", "structured_outputs", "repetition_penalty", "stop"),
    *("stop_token_ids", "ignore_eos", "vllm_xargs", "kv_transfer_params", "ec_transfer_params", "session_id"),
    *("chat_template_kwargs", "media_io_kwargs", "mm_processor_kwargs", "request_id", "stream"),
)
_TEXT_PARTS = ("input_text", "output_text", "text")


class ResponsesChatRequest(ChatCompletionRequest):
    """A chat request in which the Responses API has names of its own for a bound and for what is too much."""

    def check_prompt(self, num_tokens: int, limits: Limits) -> None:
        """There is room for an answer, and one kind of structure. Raises ApiError."""
        limit = limits.max_model_len
        if num_tokens >= limit:
            text = f"The engine prompt length {num_tokens} exceeds the max_model_len {limit}. Please reduce prompt."
            raise ApiError(400, text, type="invalid_request_error", param="input")
        if self.structured_outputs is not None and self.response_format is not None:
            text = "Cannot specify both structured_outputs and text.format"
            raise ApiError.bad_request(text, "structured_outputs")

    def asked_max_tokens(self) -> tuple[str, int | None]:
        """The bound of the output in tokens and the name of the field that gives it."""
        return "max_output_tokens", self.max_completion_tokens


def chat_request(request: "ResponsesRequest", history: Sequence[Message], limits: Limits) -> ResponsesChatRequest:
    """The chat request of the same meaning; `history` are the messages of a previous response. Raises ApiError.

    Unlike chat completions, tools need no parser here: without one the model is just not asked to call them.
    """
    given = {name: getattr(request, name) for name in _SAME if name in request.model_fields_set}
    functions = [tool for tool in request.tools if isinstance(tool, FunctionTool)]
    if given.get("stop") == "":
        # A single empty stop string is refused by chat completions alone.
        del given["stop"]
    data: dict[str, Any] = {
        **given,
        "model": request.model,
        "messages": input_messages(request, history),
        "max_completion_tokens": request.max_output_tokens,
    }
    if functions:
        data["tools"] = [_chat_tool(tool) for tool in functions]
        data["tool_choice"] = _chat_choice(request.tool_choice, functions) if limits.tool_call_parser else "none"
    if request.truncation == "auto":
        data["truncate_prompt_tokens"] = max(limits.max_model_len - (request.max_output_tokens or 1), 1)
    if request.text is not None and request.text.format is not None:
        data["response_format"] = _response_format(request.text.format)
    if request.reasoning is not None and request.reasoning.effort is not None:
        data["reasoning_effort"] = request.reasoning.effort
    if request.wants_logprobs:
        data |= {"logprobs": True, "top_logprobs": request.top_logprobs or 0}
    return validate(data, ResponsesChatRequest)


def _chat_tool(tool: Any) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": {name: value for name, value in function.items() if value is not None}}


def _chat_choice(choice: Any, functions: Sequence[FunctionTool]) -> Any:
    """The choice among functions; that of a tool which OpenAI hosts is none of theirs."""
    if isinstance(choice, str):
        return choice
    if isinstance(choice, ToolChoiceAllowed):
        return choice.mode
    if isinstance(choice, ToolChoiceFunction) and any(function.name == choice.name for function in functions):
        return {"type": "function", "function": {"name": choice.name}}
    return "auto"


def _response_format(form: Any) -> dict[str, Any]:
    if form.type != "json_schema":
        return {"type": form.type}
    return {"type": "json_schema", "json_schema": {"name": form.name, "schema": form.schema_, "strict": form.strict}}


def input_messages(request: "ResponsesRequest", history: Sequence[Message]) -> list[Message]:
    """Instructions first, then what was said before, then the new input."""
    messages: list[Message] = []
    if request.instructions:
        messages.append({"role": "system", "content": request.instructions})
    messages += history
    if isinstance(request.input, str):
        messages.append({"role": "user", "content": request.input})
    else:
        for item in request.input:
            _add_item(messages, item)
    return messages


def output_messages(items: Sequence[dict[str, Any]]) -> list[Message]:
    """The messages that the output items of a response are to the next one."""
    messages: list[Message] = []
    for item in items:
        _add_item(messages, item)
    return messages


def _add_item(messages: list[Message], item: dict[str, Any]) -> None:
    kind = item.get("type")
    if "role" in item:
        messages.append({"role": item["role"], "content": _content(item["content"])})
    elif kind in ("function_call", "custom_tool_call"):
        arguments = item.get("arguments" if kind == "function_call" else "input")
        call = {"name": str(item.get("name")), "arguments": str(arguments)}
        _assistant(messages).setdefault("tool_calls", []).append(
            {"id": str(item.get("call_id")), "type": "function", "function": call}
        )
    elif kind in ("function_call_output", "custom_tool_call_output"):
        output = item.get("output")
        content = output if isinstance(output, str) else _content(output) if output else json.dumps(output)
        messages.append({"role": "tool", "tool_call_id": str(item.get("call_id")), "content": content})
    elif kind == "reasoning":
        parts = item.get("content") or item.get("summary") or []
        messages.append({"role": "assistant", "reasoning": _joined(parts)})
    else:
        raise ApiError.bad_request(f"Unsupported input item type: {kind}", "input")


def _assistant(messages: list[Message]) -> Message:
    """The assistant's message that calls of functions belong to."""
    last = messages[-1] if messages else {}
    if last.get("role") == "assistant" and ("tool_calls" in last or "reasoning" in last):
        return last
    messages.append({"role": "assistant"})
    return messages[-1]


def _content(content: Any) -> Any:
    """A chat message's content: text as it is, parts under their chat names."""
    if not isinstance(content, list):
        return content
    return [_part(part) for part in content]


def _part(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    kind = part.get("type")
    if kind in _TEXT_PARTS:
        return {"type": "text", "text": part.get("text")}
    if kind == "refusal":
        return {"type": "text", "text": part.get("refusal")}
    if kind == "input_image":
        return {"type": "image_url", "image_url": {"url": part.get("image_url") or ""}}
    raise unsupported_part(kind)


def _joined(parts: Any) -> str:
    return "".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))
