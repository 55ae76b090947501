"""Chat templates: Jinja as Hugging Face renders it (same helpers, filters and whitespace rules)."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from vllm_mock.tokenizer.errors import ChatTemplateError

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

Message = Mapping[str, Any]
# Ends with a space to learn whether the template trims the content, see `_cut`.
MARKER = "\ue000last message ends here\ue000 "


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes HTML, which a prompt must not contain.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> NoReturn:
    raise ChatTemplateError(message)


def _strftime_now(format: str) -> str:
    return datetime.now().strftime(format)


@cache
def _environment() -> "ImmutableSandboxedEnvironment":
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class GenerationBlock(Extension):
        """{% generation %} … {% endgeneration %} marks text for training; here it is plain text."""

        tags = {"generation"}  # noqa: RUF012 - Jinja's own declaration

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, GenerationBlock]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = _strftime_now
    return environment


@lru_cache(maxsize=64)
def compile_template(source: str) -> Callable[..., str]:
    """Compile a template once; the result renders it with the given variables.

    Raises ChatTemplateError when it cannot be.
    """
    try:
        template = _environment().from_string(source)
    except Exception as error:  # nested too deep, it fails in Python's own compiler
        raise ChatTemplateError(str(error)) from error
    # Each rendering copies the globals, and copying Jinja's ChainMap takes longer than most templates.
    template.globals = dict(template.globals)
    return template.render


def render(source: str, variables: Mapping[str, Any], continue_final_message: bool = False) -> str:
    """Render a template with `variables`, of which "messages" is the conversation.

    With `continue_final_message` the prompt ends exactly with the last message's content.
    Raises ChatTemplateError with the template's own words.
    """
    if continue_final_message:
        messages = variables["messages"]
        variables = {**variables, "messages": [*messages[:-1], _marked(messages[-1])]}
    template = compile_template(source)
    try:
        text = template(variables)
    except ChatTemplateError:
        raise
    except Exception as error:  # a template is the user's program: whatever it raises is about the template
        raise ChatTemplateError(str(error)) from error
    return _cut(text) if continue_final_message else text


def _marked(message: Message) -> Message:
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": content + MARKER}
    parts = list(content or ())
    for index in reversed(range(len(parts))):
        if "text" in parts[index]:
            parts[index] = {**parts[index], "text": parts[index]["text"] + MARKER}
            return {**message, "content": parts}
    raise ChatTemplateError("continue_final_message is set, but the last message has no text to continue.")


def _cut(text: str) -> str:
    position = text.rfind(MARKER.rstrip())
    if position < 0:
        raise ChatTemplateError(
            "continue_final_message is set, but the chat template does not show the last message's content."
        )
    # A template may show the content twice, for example in a summary.
    kept = text[:position].replace(MARKER, "").replace(MARKER.rstrip(), "")
    # A template that trimmed the marker's space would have trimmed the content's own last spaces.
    return kept if text.startswith(MARKER, position) else kept.rstrip()
