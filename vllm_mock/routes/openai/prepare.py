"""From validated requests to prompts and sampling specifications."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vllm_mock.generation import SamplingSpec
from vllm_mock.protocol.errors import ApiError
from vllm_mock.routes.openai.runs import Prompt

if TYPE_CHECKING:
    from vllm_mock.protocol.chat import ChatCompletionRequest
    from vllm_mock.protocol.completions import CompletionRequest
    from vllm_mock.services import Services


@dataclass(slots=True)
class PreparedChat:
    """A chat request that passed every check. `echo` is the text that the answer repeats first."""

    body: "ChatCompletionRequest"
    model: str
    role: str
    echo: str
    prompt: Prompt
    spec: SamplingSpec


def prepare_chat(services: "Services", raw: bytes, content_type: str | None) -> PreparedChat:
    """Validate, render and tokenize; raises ApiError as vLLM would, in its order."""
    from vllm_mock.protocol.chat import ChatCompletionRequest
    from vllm_mock.protocol.parsing import parse_request

    body = parse_request(raw, content_type, ChatCompletionRequest)
    model = resolve_model(services, body.model)
    messages = [dict(m) for m in body.messages]
    tokenizer = services.tokenizer
    text = tokenizer.apply_chat_template(
        messages,
        add_generation_prompt=body.add_generation_prompt,
        continue_final_message=body.continue_final_message,
        **(body.chat_template_kwargs or {}),
    )
    ids = tokenizer.encode(text, add_special_tokens=body.add_special_tokens)
    left = services.settings.max_model_len - len(ids)
    bound = body.max_completion_tokens if body.max_completion_tokens is not None else body.max_tokens
    spec = sampling_spec(
        body, left if bound is None else min(left, bound), body.top_logprobs if body.logprobs else None
    )
    return PreparedChat(body, model, "assistant", "", Prompt(ids, text), spec)


def resolve_model(services: "Services", requested: str | None) -> str:
    """The name to echo; raises vLLM's 404 for a model that is not served."""
    model = services.models.resolve(requested)
    if model is None:
        raise ApiError.model_not_found(str(requested), services.models.names)
    return model


def stop_strings(stop: str | Sequence[str] | None) -> Sequence[str]:
    """A request's `stop` as a list."""
    if stop is None:
        return ()
    return (stop,) if isinstance(stop, str) else stop


def sampling_spec(body: Any, max_tokens: int, top_logprobs: int | None) -> SamplingSpec:
    """The generator's view of a request; `max_tokens` is the effective bound in tokens."""
    return SamplingSpec(
        max_tokens=max_tokens,
        n=body.n or 1,
        stop=stop_strings(body.stop),
        stop_token_ids=body.stop_token_ids or (),
        include_stop_str_in_output=body.include_stop_str_in_output,
        min_tokens=body.min_tokens,
        ignore_eos=body.ignore_eos,
        seed=body.seed,
        temperature=body.temperature,
        logprobs=top_logprobs,
        prompt_logprobs=body.prompt_logprobs,
        skip_special_tokens=body.skip_special_tokens is not False,
        allowed_token_ids=body.allowed_token_ids,
        logit_bias={int(key): bias for key, bias in body.logit_bias.items()} if body.logit_bias else None,
        bad_words=body.bad_words,
    )


@dataclass(slots=True)
class PreparedCompletion:
    """A completion request that passed every check; one specification per prompt."""

    body: "CompletionRequest"
    model: str
    prompts: list[Prompt]
    specs: list[SamplingSpec]


def prepare_completion(services: "Services", raw: bytes, content_type: str | None) -> PreparedCompletion:
    """Validate and tokenize; raises ApiError as vLLM would, in its order."""
    from vllm_mock.protocol.completions import CompletionRequest
    from vllm_mock.protocol.parsing import parse_request

    body = parse_request(raw, content_type, CompletionRequest)
    model = resolve_model(services, body.model)
    asked: Any = body.prompt
    single = isinstance(asked, str) or (asked and isinstance(asked[0], int))
    prompts = []
    for item in [asked] if single else asked:
        ids = services.tokenizer.encode(item, body.add_special_tokens) if isinstance(item, str) else list(item)
        prompts.append(Prompt(ids, item if isinstance(item, str) else None))
    specs = [
        sampling_spec(
            body,
            min(services.settings.max_model_len - len(p.token_ids), max(1, body.max_tokens)),
            body.logprobs,
        )
        for p in prompts
    ]
    return PreparedCompletion(body, model, prompts, specs)
