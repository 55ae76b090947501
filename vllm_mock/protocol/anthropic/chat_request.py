"""From a request of the Messages API to a chat request, which is what the rest of the server serves."""

from typing import Any

from vllm_mock.protocol import precheck
from vllm_mock.protocol.anthropic.messages import chat_messages
from vllm_mock.protocol.anthropic.request import (
    TOOL_CHANGES,
    AnthropicCountTokensRequest,
    AnthropicMessage,
    AnthropicMessagesRequest,
    AnthropicTool,
    ThinkingEnabled,
    ToolDefinition,
)
from vllm_mock.protocol.chat import ChatCompletionRequest
from vllm_mock.protocol.common import (
    ChatCompletionNamedFunction,
    ChatCompletionNamedToolChoiceParam,
    ChatCompletionToolsParam,
    FunctionDefinition,
    JsonSchemaResponseFormat,
    ResponseFormat,
    StreamOptions,
)
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.limits import Limits

AnthropicRequest = AnthropicMessagesRequest | AnthropicCountTokensRequest


def chat_request(request: AnthropicRequest, limits: Limits) -> ChatCompletionRequest:
    """The chat request that asks for the same. Raises ApiError."""
    fields: dict[str, Any] = {
        "model": request.model,
        "messages": chat_messages(request.system, request.messages),
        "chat_template_kwargs": request.chat_template_kwargs,
    }
    if isinstance(request, AnthropicMessagesRequest):
        fields |= _sampling(request)
    tools = _tools_in_force(request.tools, request.messages)
    if tools is not None:
        fields["tools"] = [_tool(tool) for tool in tools]
    fields |= _tool_choice(request, tools) | _effort(request, limits)
    return ChatCompletionRequest.model_construct(**fields)


def _sampling(request: AnthropicMessagesRequest) -> dict[str, Any]:
    precheck.check_cache_salt({"cache_salt": request.cache_salt})
    fields: dict[str, Any] = {
        "max_completion_tokens": request.max_tokens,
        "stop": request.stop_sequences,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "stream": request.stream,
        "cache_salt": request.cache_salt,
        "watermarking": request.watermarking,
        "kv_transfer_params": request.kv_transfer_params,
        "ec_transfer_params": request.ec_transfer_params,
        "vllm_xargs": request.vllm_xargs,
        "mm_payload": request.mm_payload,
        "return_mm_kwargs": request.return_mm_kwargs,
    }
    if request.stream:
        fields["stream_options"] = StreamOptions(include_usage=True, continuous_usage_stats=True)
    if isinstance(request.thinking, ThinkingEnabled):
        fields["thinking_token_budget"] = request.thinking.budget_tokens
    return fields


def _effort(request: AnthropicRequest, limits: Limits) -> dict[str, Any]:
    """Thinking and output_config as chat's reasoning_effort and response_format."""
    fields: dict[str, Any] = {}
    config = request.output_config
    if request.thinking is not None and request.thinking.type == "disabled":
        fields["reasoning_effort"] = limits.disabled_thinking_effort
    elif config is not None and config.effort is not None:
        fields["reasoning_effort"] = config.effort
    if config is not None and config.format is not None and config.format.json_schema is not None:
        named = JsonSchemaResponseFormat(name="structured_output", schema=config.format.json_schema)
        fields["response_format"] = ResponseFormat(type="json_schema", json_schema=named)
    return fields


def _tool_choice(request: AnthropicRequest, tools: list[AnthropicTool] | None) -> dict[str, Any]:
    asked = request.tool_choice
    if asked is None:
        return {"tool_choice": None if tools is None else "auto"}
    if asked.type == "tool":
        function = ChatCompletionNamedFunction(name=str(asked.name))
        choice: Any = ChatCompletionNamedToolChoiceParam(function=function)
    else:
        choice = "required" if asked.type == "any" else asked.type
    fields = {"tool_choice": choice}
    if asked.disable_parallel_tool_use:
        fields["parallel_tool_calls"] = False
    return fields


def _tools_in_force(
    declared: list[AnthropicTool] | None, messages: list[AnthropicMessage]
) -> list[AnthropicTool] | None:
    """The declared tools, less those that system messages removed, and those that they added."""
    known = {tool.name: tool for tool in declared or ()}
    removed: set[str] = set()
    changed = False
    for block in _changes(messages):
        changed = True
        if isinstance(block.tool, ToolDefinition):
            name = block.tool.definition.name
            known[name] = block.tool.definition
        else:
            name = block.tool.name
            if name not in known:
                raise ApiError.bad_request(f"{block.type} references tool {name!r}, which is not declared in tools")
        if block.type == "tool_removal":
            removed.add(name)
        else:
            removed.discard(name)
            known[name] = known[name].model_copy(update={"defer_loading": None})
    if not changed:
        return declared
    return [tool for name, tool in known.items() if name not in removed]


def _changes(messages: list[AnthropicMessage]) -> list[Any]:
    return [
        block
        for message in messages
        if message.role == "system" and not isinstance(message.content, str)
        for block in message.content
        if block.type in TOOL_CHANGES
    ]


def _tool(tool: AnthropicTool) -> ChatCompletionToolsParam:
    function = FunctionDefinition(
        name=tool.name,
        description=tool.description,
        parameters=tool.input_schema,
        strict=tool.strict,
        defer_loading=tool.defer_loading,
    )
    return ChatCompletionToolsParam(function=function)
