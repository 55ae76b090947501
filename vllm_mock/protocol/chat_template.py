"""From the messages of a request to the text of the prompt."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from vllm_mock.protocol import trust
from vllm_mock.protocol.conversation import conversation, refuse_media
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.limits import Limits
from vllm_mock.tokenizer import Tokenizer, TokenizerError

if TYPE_CHECKING:
    from vllm_mock.protocol.chat import ChatCompletionRequest
    from vllm_mock.protocol.tokenize import TokenizeChatRequest

    ChatRequest: TypeAlias = ChatCompletionRequest | TokenizeChatRequest

# chat_template_kwargs that are arguments of the call, not variables: what the request itself says wins.
_NOT_VARIABLES = frozenset(
    ("chat_template", "add_generation_prompt", "continue_final_message", "tokenize", "return_dict")
)
_DEVELOPER = re.compile(r"""(['"])developer\1""")
# A loop over the content of a message, by itself or through a variable or a macro's argument "content".
_CONTENT_LOOP = re.compile(
    r"""for\s+\w+\s+in\s+(?:\w+(?:\.content|\[\s*['"]content['"]\s*\])|content)\s*(?:\||if\b|-?%\})"""
)
_NOT_COMPATIBLE = (
    "continue_final_message and add_generation_prompt are not compatible. Use continue_final_message when you "
    "want the model to continue the final message, and add_generation_prompt when you want to add a header "
    "that will prompt it to start a new assistant message instead."
)


def check_trust(request: "ChatRequest", limits: Limits) -> None:
    """Refuses what the server's flags do not trust a client with. Raises ApiError."""
    trust.check_chat_template(request, limits)
    trust.check_media_arguments(request, limits)


def render(request: "ChatRequest", tokenizer: Tokenizer, limits: Limits) -> str:
    """The prompt's text. Raises ApiError for messages or arguments that the template cannot take."""
    sources = [request.chat_template] if request.chat_template else tokenizer.chat_templates.values()
    messages = conversation(
        request.messages,
        refuse_media(limits.model),
        keep_developer=any(map(_names_developer, sources)),
        keep_parts=_keeps_parts(sources, limits.chat_template_content_format),
    )
    if not messages:
        text = "Cannot apply chat template to an empty conversation. Provide at least one message."
        raise ApiError.bad_request(text)
    if request.add_generation_prompt and request.continue_final_message:
        raise ApiError.bad_request(_NOT_COMPATIBLE)
    arguments = template_arguments(request, limits)
    _check_arguments(arguments)
    try:
        return tokenizer.apply_chat_template(messages, **arguments)
    except (TokenizerError, TypeError) as e:
        raise ApiError.bad_request(str(e)) from None


@lru_cache(maxsize=64)
def _names_developer(source: str) -> bool:
    return _DEVELOPER.search(source) is not None


def _keeps_parts(sources: Iterable[str], content_format: str) -> bool:
    """Whether the template wants contents as lists of parts (--chat-template-content-format)."""
    if content_format == "auto":
        return any(map(_loops_over_content, sources))
    return content_format == "openai"


@lru_cache(maxsize=64)
def _loops_over_content(source: str) -> bool:
    return _CONTENT_LOOP.search(source) is not None


def template_arguments(request: "ChatRequest", limits: Limits) -> dict[str, Any]:
    """The arguments of the template besides the messages."""
    arguments: dict[str, Any] = {
        "tools": _tools(request, limits),
        "documents": getattr(request, "documents", None),
    }
    effort = getattr(request, "reasoning_effort", None)
    if effort is not None:
        arguments |= {"reasoning_effort": effort, "enable_thinking": effort != "none"}
    for extra in (limits.default_chat_template_kwargs, request.chat_template_kwargs):
        if extra:
            arguments |= {name: value for name, value in extra.items() if name not in _NOT_VARIABLES}
    arguments["chat_template"] = request.chat_template
    arguments["add_generation_prompt"] = request.add_generation_prompt
    arguments["continue_final_message"] = request.continue_final_message
    return arguments


def _tools(request: "ChatRequest", limits: Limits) -> list[dict[str, Any]] | None:
    unwanted = limits.exclude_tools_when_tool_choice_none and getattr(request, "tool_choice", None) == "none"
    return None if unwanted else shown_tools(request)


def shown_tools(request: "ChatRequest") -> list[dict[str, Any]] | None:
    """The tools as vLLM shows them to a template: known keys only, `strict` and the like only when set."""
    tools = getattr(request, "tools", None)
    if tools is None:
        return None
    return [{"type": tool.type, "function": _function(tool.function)} for tool in tools]


def _function(function: Any) -> dict[str, Any]:
    shown = {"name": function.name, "description": function.description, "parameters": function.parameters}
    optional = {"strict": function.strict, "defer_loading": function.defer_loading}
    return shown | {name: value for name, value in optional.items() if value is not None}


def _check_arguments(arguments: dict[str, Any]) -> None:
    """chat_template_kwargs may clash with arguments that are none of the client's business."""
    if "messages" in arguments:
        text = "jinja2.environment.Template.render() got multiple values for keyword argument 'messages'"
        raise ApiError.bad_request(text)
    for name in ("tools", "documents"):
        value = arguments[name]
        if value is not None and not isinstance(value, list | dict | str):
            raise ApiError.bad_request(f"'{type(value).__name__}' object is not iterable")
    if not all(isinstance(tool, dict) for tool in arguments["tools"] or ()):
        raise ApiError.bad_request(
            "Tools should either be a JSON schema, or a callable function with type hints and a docstring "
            "suitable for auto-conversion to a schema."
        )
    if not all(isinstance(document, dict) for document in arguments["documents"] or ()):
        raise ApiError.bad_request("Documents should be a list of dicts with 'title' and 'text' keys!")
