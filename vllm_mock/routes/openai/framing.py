"""What a request and the server's parsers make of an answer beside plain text: reasoning, and calls of tools."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vllm_mock.generation.framing import EFFORT_SHARES, USUAL_SHARE, Framing, Reasoning
from vllm_mock.generation.tool_calls import Function, choose_calls
from vllm_mock.output import OutputParsing, ToolFormat

if TYPE_CHECKING:
    from vllm_mock.protocol.chat import ChatCompletionRequest

# The variables by which chat templates let a client switch reasoning off.
_SWITCHES = ("enable_thinking", "thinking")
_RESULT_ROLES = ("tool", "function")


def framing(
    body: "ChatCompletionRequest", parsing: OutputParsing, defaults: Mapping[str, Any], request: str, structured: bool
) -> Framing | None:
    """How the answer is framed; None for plain text.

    `defaults`: the server's arguments of the chat template. `request`: what the user asked last. `structured`: the
    answer must have a structure, so that only a call that is demanded can take its place.
    """
    reasoning = _reasoning(body, parsing, defaults)
    possible = parsing.tools is not None and not (structured and parsing.tool_choice == "auto")
    calls = parsing.tools if possible and _calls_tools(body, parsing) else None
    if calls is None:
        return None if reasoning is None else Framing(reasoning)
    return Framing(reasoning, _writer(calls, _functions(body, parsing), request, parsing.parallel))


def _reasoning(body: "ChatCompletionRequest", parsing: OutputParsing, defaults: Mapping[str, Any]) -> Reasoning | None:
    form = parsing.reasoning
    if form is None or not form.reads or parsing.reasoning_over:
        return None
    arguments = {**defaults, **(body.chat_template_kwargs or {})}
    share = EFFORT_SHARES[body.reasoning_effort] if body.reasoning_effort else USUAL_SHARE
    if any(arguments.get(switch) is False for switch in _SWITCHES):
        share = 0.0
    if share == 0.0 and not form.always:
        return None
    return Reasoning(form.start, form.end, share, body.thinking_token_budget)


def _calls_tools(body: "ChatCompletionRequest", parsing: OutputParsing) -> bool:
    """Tools are called until there are results; then comes a text, unless a call is demanded."""
    if parsing.hides_calls:
        return False
    last: Any = body.messages[-1]
    return parsing.tool_choice != "auto" or last["role"] not in _RESULT_ROLES


def _functions(body: "ChatCompletionRequest", parsing: OutputParsing) -> list[Function]:
    functions = [tool.function for tool in body.tools or ()]
    if parsing.tool_choice == "named":
        name = body.tool_choice.function.name  # type: ignore[union-attr]
        functions = [function for function in functions if function.name == name]
    return [Function(f.name, f.description or "", f.parameters) for f in functions]


def _writer(form: ToolFormat, functions: Sequence[Function], request: str, several: bool) -> Any:
    return lambda draws: form.write(choose_calls(functions, request, draws, several=several))
