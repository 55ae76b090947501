"""POST …/render: the prompts of a request as token ids, and all that a generating server must know."""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Response, request

from vllm_mock.generation.detokenize import Detokenizer
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.json_text import compact
from vllm_mock.routes.openai import headers
from vllm_mock.routes.openai.prepare import output_parsing, resolve_model
from vllm_mock.routes.replies import json_reply

if TYPE_CHECKING:
    from vllm_mock.protocol.stages import CheckedPrompt
    from vllm_mock.services import Services


def views(services: "Services") -> dict[str, Callable[[], Response]]:
    """The view of each path."""

    def chat() -> Response:
        from vllm_mock.protocol.chat import ChatCompletionRequest

        body = headers.read(request.environ, ChatCompletionRequest)
        return json_reply(compact(_rendered_chat(services, body)))

    def messages() -> Response:
        from vllm_mock.protocol.anthropic.chat_request import chat_request
        from vllm_mock.protocol.anthropic.request import AnthropicMessagesRequest

        body = headers.read(request.environ, AnthropicMessagesRequest)
        return json_reply(compact(_rendered_chat(services, chat_request(body, services.limits))))

    def completions() -> Response:
        from vllm_mock.protocol.completions import CompletionRequest

        body = headers.read(request.environ, CompletionRequest)
        return json_reply(compact(_rendered_completions(services, body)))

    def responses() -> Response:
        from vllm_mock.protocol.responses import ResponsesRequest

        body = headers.read(request.environ, ResponsesRequest)
        return json_reply(compact(_rendered_response(services, body)))

    return {
        "/v1/responses/render": responses,
        "/v1/chat/completions/render": chat,
        "/v1/messages/render": messages,
        "/v1/completions/render": completions,
    }


def _rendered_chat(services: "Services", body: Any) -> dict[str, Any]:
    from vllm_mock.protocol.stages import check_chat

    _check_supported(services, body)
    checked = check_chat(body, services.tokenizer, services.limits)
    described = _described(services, body, checked, f"chatcmpl-{_request_id(body)}")
    arguments = _template_arguments(services, body)
    if services.settings.reasoning_parser:
        parsing = output_parsing(services, body, checked)
        described["reasoning_ended"] = parsing is not None and parsing.reasoning_over
        described["reasoning_parser_kwargs"] = {"chat_template_kwargs": arguments}
    if not body.include_reasoning:
        described["reasoning_ended"] = True
    described["parse_context"] = _parse_context(body, arguments)
    return described


def _rendered_completions(services: "Services", body: Any) -> list[dict[str, Any]]:
    from vllm_mock.protocol.stages import check_completion

    _check_supported(services, body)
    checked = check_completion(body, services.tokenizer, services.limits)
    request_id = _request_id(body)
    ids = [f"cmpl-{request_id}-{index}" for index in range(len(checked))]
    if len(checked) == 1:
        ids = [f"cmpl-{request_id}"]
    return [_described(services, body, one, name) for one, name in zip(checked, ids, strict=True)]


def _rendered_response(services: "Services", body: Any) -> dict[str, Any]:
    from vllm_mock.protocol.response_input import chat_request
    from vllm_mock.protocol.stages import check_chat

    resolve_model(services, body.model)
    if body.previous_response_id is not None:
        text = "previous_response_id is not supported by the stateless render endpoint."
        raise ApiError(400, text, "invalid_request_error", "previous_response_id")
    chat = chat_request(body, [], services.limits)
    checked = check_chat(chat, services.tokenizer, services.limits)
    request_id = body.request_id or f"resp_{random.getrandbits(64):016x}"
    described = _described(services, chat, checked, request_id)
    described["sampling_params"] = _with_extra_args(described["sampling_params"])
    if services.settings.reasoning_parser:
        described["reasoning_parser_kwargs"] = {"chat_template_kwargs": _template_arguments(services, chat)}
    return described


def _with_extra_args(params: dict[str, Any]) -> dict[str, Any]:
    """vLLM writes them here even when there are none; their place is before the bad words."""
    ordered: dict[str, Any] = {}
    for name, value in params.items():
        if name == "bad_words":
            ordered.setdefault("extra_args", {})
        ordered[name] = value
    return ordered


def _check_supported(services: "Services", body: Any) -> None:
    resolve_model(services, body.model)
    if body.use_beam_search:
        raise ApiError.bad_request("Beam search is not supported by the render endpoint")


def _request_id(body: Any) -> str:
    chosen = request.environ.get("HTTP_X_REQUEST_ID", body.request_id)
    return f"{random.getrandbits(64):016x}" if chosen is None else chosen


def _described(services: "Services", body: Any, prompt: "CheckedPrompt", request_id: str) -> dict[str, Any]:
    """A prompt as a request of /inference/v1/generate, keys in vLLM's order."""
    from vllm_mock.protocol.scale_out.sampling import rendered

    options = body.stream_options
    return {
        "request_id": request_id,
        "token_ids": prompt.token_ids,
        "token_offsets": _offsets(services, prompt) if body.return_token_offsets else None,
        "features": None,
        "content_parts": None,
        "sampling_params": rendered(body, prompt.max_tokens, streamed=bool(body.stream)),
        "model": body.model,
        "reasoning_ended": None,
        "reasoning_parser_kwargs": None,
        "return_token_ids": body.return_token_ids,
        "output_mode": "tokens",
        "parse_context": None,
        "stream": bool(body.stream),
        "stream_options": None
        if options is None
        else {
            "include_usage": options.include_usage,
            "continuous_usage_stats": options.continuous_usage_stats,
        },
        "cache_salt": body.cache_salt,
        "priority": body.priority,
        "kv_transfer_params": body.kv_transfer_params,
        "ec_transfer_params": body.ec_transfer_params,
    }


def _offsets(services: "Services", prompt: "CheckedPrompt") -> list[list[int]] | None:
    """Where each token begins and ends in the text, in characters; None for a prompt of token ids."""
    if prompt.text is None:
        return None
    tokenizer, ids = services.tokenizer, prompt.token_ids
    ends, complete = [], 0
    for count, text in enumerate(Detokenizer(tokenizer).deltas(ids, skip_special_tokens=False), 1):
        complete += len(text)
        # A token that completes nothing adds a replacement character, perhaps.
        ends.append(complete if text else len(tokenizer.decode(ids[:count], skip_special_tokens=False)))
    # A prompt that was cut from the left ends where its text ends.
    shift = len(prompt.text) - ends[-1] if ends else 0
    return [[start + shift, end + shift] for start, end in zip([0, *ends], ends, strict=False)]


def _template_arguments(services: "Services", body: Any) -> dict[str, Any]:
    """The arguments of the chat template, as vLLM tells them to the parsers."""
    arguments: dict[str, Any] = {"cohere_format": "cmd4"}
    for extra in (services.limits.default_chat_template_kwargs, body.chat_template_kwargs):
        arguments |= extra or {}
    arguments["add_generation_prompt"] = body.add_generation_prompt
    arguments["continue_final_message"] = body.continue_final_message
    if body.reasoning_effort is not None:
        arguments.setdefault("reasoning_effort", body.reasoning_effort)
        arguments.setdefault("enable_thinking", body.reasoning_effort != "none")
    return arguments


def _parse_context(body: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    from vllm_mock.protocol.chat_template import shown_tools

    choice = body.tool_choice
    named = choice is not None and not isinstance(choice, str)
    calls = sum(len(list(message.get("tool_calls") or ())) for message in body.messages)
    return {
        "tools": shown_tools(body),
        "tool_choice": {"function": {"name": choice.function.name}, "type": "function"} if named else choice,
        "parallel_tool_calls": body.parallel_tool_calls,
        "include_reasoning": body.include_reasoning,
        "chat_template_kwargs": arguments,
        "history_tool_call_cnt": calls,
    }
