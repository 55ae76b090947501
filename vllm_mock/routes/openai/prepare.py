"""From the bytes of a request to prompts and sampling specifications, refused in vLLM's order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vllm_mock.generation import SamplingSpec
from vllm_mock.output import OutputParsing, ReasoningFormat, reasoning_format, tool_format
from vllm_mock.protocol.errors import ApiError
from vllm_mock.routes.openai import headers
from vllm_mock.routes.openai.framing import framing
from vllm_mock.routes.openai.refusal import refused_by_engine
from vllm_mock.routes.openai.structure import structure

if TYPE_CHECKING:
    from vllm_mock.protocol.chat import ChatCompletionRequest
    from vllm_mock.protocol.completions import CompletionRequest
    from vllm_mock.protocol.stages import CheckedPrompt
    from vllm_mock.services import Services
    from vllm_mock.settings import Settings

# The modules of protocol that import pydantic are imported where they are used: a probe must not wait for them.


@dataclass(slots=True)
class PreparedChat:
    """A chat request that passed every check. `echo` is the text that the answer repeats first.

    `parsing` is None where no parser reads the answer.
    """

    body: "ChatCompletionRequest"
    model: str
    role: str
    echo: str
    prompt: "CheckedPrompt"
    spec: SamplingSpec
    parsing: OutputParsing | None = None


@dataclass(slots=True)
class PreparedCompletion:
    """A completion request that passed every check; one specification per prompt."""

    body: "CompletionRequest"
    model: str
    prompts: list["CheckedPrompt"]
    specs: list[SamplingSpec]


def parse_chat(environ: dict[str, Any]) -> "ChatCompletionRequest":
    """The validated body; raises ApiError as vLLM would."""
    from vllm_mock.protocol.chat import ChatCompletionRequest

    return headers.read(environ, ChatCompletionRequest)


def prepare_chat_body(services: "Services", environ: dict[str, Any], body: "ChatCompletionRequest") -> PreparedChat:
    """Render and tokenize; raises ApiError, or StreamedRefusal, as vLLM would.

    Other APIs, too, ask as chat completions.
    """
    from vllm_mock.protocol.stages import check_chat

    model = resolve_model(services, body.model)
    checked = check_chat(body, services.tokenizer, services.limits)
    _check_engine_input(services, environ, body, [checked])
    spec = _spec(services, body, checked.max_tokens, model)
    parsing = frame(services, body, checked, spec)
    role, echo = _role_and_echo(services, body)
    return PreparedChat(body, model, role, echo, checked, spec, parsing)


def frame(
    services: "Services", body: "ChatCompletionRequest", prompt: "CheckedPrompt", spec: SamplingSpec
) -> OutputParsing | None:
    """Let the specification ask for what the server's parsers look for; returns how they read the answer."""
    parsing = output_parsing(services, body, prompt)
    if services.settings.mode == "echo":
        spec.last_user_text = _last_user_text(body.messages)
    elif parsing is not None:
        defaults = services.settings.default_chat_template_kwargs
        structured = spec.structure is not None
        spec.framing = framing(body, parsing, defaults, _last_user_text(body.messages), structured)
    if parsing is not None and (parsing.tools or parsing.reasoning):
        spec.skip_special_tokens = False
    return parsing


def prepare_token_ids(
    services: "Services", environ: dict[str, Any], body: "CompletionRequest", prompt: "CheckedPrompt", model: str
) -> SamplingSpec:
    """The specification for one prompt of token ids, whose parameters have passed their checks.

    Raises ApiError, or StreamedRefusal, as vLLM's engine would.
    """
    _check_engine_input(services, environ, body, [prompt])
    spec = _spec(services, body, prompt.max_tokens, model)
    if services.settings.mode == "echo":
        spec.last_user_text = services.tokenizer.decode(prompt.token_ids)
    return spec


def output_parsing(
    services: "Services", body: "ChatCompletionRequest", prompt: "CheckedPrompt"
) -> OutputParsing | None:
    """Which of the server's parsers read the answer to a request; None if none does."""
    settings = services.settings
    parser = services.limits.tool_call_parser
    reasoning = _reasoning_format(settings, body) if settings.reasoning_parser else None
    if reasoning is None and parser is None:
        return None
    parsing = OutputParsing(
        reasoning=reasoning,
        functions=body.tools or (),
        parallel=body.parallel_tool_calls is not False,
        include_reasoning=body.include_reasoning,
        reasoning_over=reasoning is not None and _reasoning_is_over(services, reasoning, prompt),
        streamed=bool(body.stream),
        stream_interval=body.stream_interval or settings.stream_interval,
    )
    choice: Any = body.tool_choice
    if parser is not None and choice is None:
        # vLLM looks for calls, but then shows none.
        parsing.tools, parsing.hides_calls = tool_format(parser), True
    elif parser is not None and body.tools and choice != "none":
        parsing.tool_choice = choice if choice in ("auto", "required") else "named"
        name = choice.function.name if parsing.tool_choice == "named" else ""
        parsing.tools = tool_format(parser, parsing.tool_choice, name)
    return parsing


def _reasoning_format(settings: "Settings", body: "ChatCompletionRequest") -> ReasoningFormat:
    effort = body.reasoning_effort
    arguments = {} if effort is None else {"enable_thinking": effort != "none"}
    arguments |= settings.default_chat_template_kwargs
    arguments |= body.chat_template_kwargs or {}
    return reasoning_format(settings.reasoning_parser, arguments)


def _reasoning_is_over(services: "Services", reasoning: ReasoningFormat, prompt: "CheckedPrompt") -> bool:
    # The embedded template repeats the reasoning of earlier turns, and begins a new one for each answer.
    return not services.tokenizer.embedded and reasoning.is_over(prompt.text or "")


def prepare_completion(services: "Services", environ: dict[str, Any]) -> PreparedCompletion:
    """Validate and tokenize; raises ApiError, or StreamedRefusal, as vLLM would."""
    from vllm_mock.protocol.completions import CompletionRequest
    from vllm_mock.protocol.stages import check_completion

    body = headers.read(environ, CompletionRequest)
    model = resolve_model(services, body.model)
    checked = check_completion(body, services.tokenizer, services.limits)
    _check_engine_input(services, environ, body, checked)
    specs = [_spec(services, body, prompt.max_tokens, model) for prompt in checked]
    if services.settings.mode == "echo":
        for spec, prompt in zip(specs, checked, strict=True):
            spec.last_user_text = prompt.text or services.tokenizer.decode(prompt.token_ids)
    return PreparedCompletion(body, model, checked, specs)


def resolve_model(services: "Services", requested: str | None) -> str:
    """The name to echo; raises vLLM's 404 for a model that is not served."""
    model = services.models.resolve(requested)
    if model is None:
        raise ApiError.model_not_found(str(requested), services.models.names)
    return model


def _check_engine_input(
    services: "Services", environ: dict[str, Any], body: Any, prompts: Sequence["CheckedPrompt"]
) -> None:
    from vllm_mock.protocol.engine_checks import check_engine_input

    rank = headers.data_parallel_rank(environ)
    try:
        for prompt in prompts:
            check_engine_input(body, prompt.token_ids, services.limits, rank)
    except ApiError as error:
        raise refused_by_engine(error, streaming=bool(body.stream)) from None


def _spec(services: "Services", body: Any, max_tokens: int, model: str) -> SamplingSpec:
    defaults = services.settings.override_generation_config
    if defaults and body.asked_max_tokens()[1] is None:
        max_tokens = min(max_tokens, defaults.get("max_new_tokens", max_tokens))
    stop = body.stop
    bias = body.logit_bias
    return SamplingSpec(
        max_tokens=max_tokens,
        n=body.n or 1,
        stop=() if stop is None else (stop,) if isinstance(stop, str) else stop,
        stop_token_ids=body.stop_token_ids or (),
        include_stop_str_in_output=body.include_stop_str_in_output,
        min_tokens=body.min_tokens,
        ignore_eos=body.ignore_eos,
        seed=body.seed,
        temperature=defaults.get("temperature") if body.temperature is None else body.temperature,
        logprobs=body.sample_logprobs(),
        skip_special_tokens=body.skip_special_tokens is not False,
        model=model,
        allowed_token_ids=body.allowed_token_ids,
        logit_bias={int(key): value for key, value in bias.items()} if bias else None,
        bad_words=body.bad_words,
        structure=structure(body, services.settings),
    )


def _role_and_echo(services: "Services", body: "ChatCompletionRequest") -> tuple[str, str]:
    """The role of the answer, and the last message's text if `echo` asks for it and it has that role."""
    last: Any = body.messages[-1]
    role = services.settings.response_role if body.add_generation_prompt else str(last["role"])
    return role, _text_of(last.get("content")) if body.echo and last["role"] == role else ""


def _last_user_text(messages: Sequence[Any]) -> str:
    """What the echo mode repeats: the text of the last message of a user."""
    for message in reversed(messages):
        if message["role"] == "user":
            return _text_of(message.get("content"))
    return ""


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content or ()
    texts = [part if isinstance(part, str) else part.get("text") for part in parts]
    return "\n".join(text for text in texts if isinstance(text, str))
