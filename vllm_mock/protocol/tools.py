"""Tools and tool choice: vLLM's checks of the raw body and of the server's flags."""

from typing import TYPE_CHECKING, Any

from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.limits import Limits

if TYPE_CHECKING:
    from vllm_mock.protocol.chat import ChatCompletionRequest

_USAGE = 'Correct usage: `{"type": "function", "function": {"name": "my_function"}}`'


def check_tool_usage(data: dict[str, Any]) -> None:
    """Before the fields are validated. Fills in the implied ``tool_choice: "auto"``. Raises ApiError."""
    tools = data.get("tools")
    if isinstance(tools, list) and not tools:
        text = "`tools` must not be an empty array. Either provide at least one tool or omit the field entirely."
        raise ApiError.bad_request(text, "tools")
    if "tool_choice" not in data:
        if tools:
            data["tool_choice"] = "auto"
        return
    choice = data["tool_choice"]
    if choice == "none" or choice is None:
        return
    if tools is None:
        raise ApiError.bad_request("When using `tool_choice`, `tools` must be set.", "tool_choice")
    _check_choice(choice, tools)


def _check_choice(choice: Any, tools: Any) -> None:
    if choice in ("auto", "required"):
        return
    if not isinstance(choice, dict):
        text = (
            f'Invalid value for `tool_choice`: {choice}! Only named tools, "none", "auto" or "required" are supported.'
        )
        raise ApiError.bad_request(text, "tool_choice")
    name = _chosen_name(choice)
    if not any(_tool_name(tool) == name for tool in _loop(tools)):
        text = "The tool specified in `tool_choice` does not match any of the specified `tools`"
        raise ApiError.bad_request(text, "tool_choice")


def _chosen_name(choice: dict[str, Any]) -> str:
    function = choice.get("function")
    if not isinstance(function, dict):
        text = f"Invalid value for `function`: `{function}` in `tool_choice`! {_USAGE}"
        raise ApiError.bad_request(text, "tool_choice.function")
    if "name" not in function:
        text = f"Expected field `name` in `function` in `tool_choice`! {_USAGE}"
        raise ApiError.bad_request(text, "tool_choice.function.name")
    name = function["name"]
    if not isinstance(name, str) or not name:
        text = f"Invalid `name` in `function`: `{name}` in `tool_choice`! {_USAGE}"
        raise ApiError.bad_request(text, "tool_choice.function.name")
    return name


def _loop(tools: Any) -> Any:
    """What vLLM's loop over `tools` yields, before it knows that it is a list."""
    try:
        return iter(tools)
    except TypeError as e:
        raise ApiError.bad_request(str(e)) from None


def _tool_name(tool: Any) -> Any:
    try:
        return tool["function"]["name"]
    except (TypeError, KeyError) as e:
        raise ApiError.bad_request(str(e)) from None


def check_tool_flags(request: "ChatCompletionRequest", limits: Limits) -> None:
    """Tools need the server's flags for tool calls. Raises ApiError."""
    choice = request.tool_choice
    if choice is None or choice == "none":
        return
    if choice == "auto":
        if not (limits.enable_auto_tool_choice and limits.tool_call_parser):
            text = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
            raise ApiError.bad_request(text)
    elif not limits.tool_call_parser:
        named = '"required"' if choice == "required" else f'function "{choice.function.name}"'
        raise ApiError.bad_request(f"tool_choice={named} requires --tool-call-parser to be set")


def check_named_tool(request: "ChatCompletionRequest", limits: Limits) -> None:
    """The tool parser looks up the tool that must be called; only other APIs get here without one. Raises ApiError."""
    choice = request.tool_choice
    if not limits.tool_call_parser or not request.tools or choice is None or isinstance(choice, str):
        return
    name = choice.function.name
    if all(tool.function.name != name for tool in request.tools):
        raise ApiError.bad_request(f"The tool with name '{name}' is not found in the tools list.")
