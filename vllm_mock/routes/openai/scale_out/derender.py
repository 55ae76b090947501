"""POST …/derender: the token ids of an answer as the text, reasoning and calls of tools that a client expects."""

import random
import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from flask import Response, request

from vllm_mock.generation import ChoicePlan
from vllm_mock.generation.detokenize import Detokenizer
from vllm_mock.output import OutputDelta, OutputParsing, ParsedOutput, parse_output
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.json_text import compact
from vllm_mock.protocol.response import Choice, Envelope, chat_completion, text_completion
from vllm_mock.protocol.sse import json_ids
from vllm_mock.protocol.usage import Usage
from vllm_mock.routes.openai import headers
from vllm_mock.routes.openai.prepare import output_parsing, resolve_model
from vllm_mock.routes.openai.scale_out.detokenize import next_texts
from vllm_mock.routes.replies import json_reply

if TYPE_CHECKING:
    from vllm_mock.services import Services

NEEDS_REQUEST = (
    "chat_request is required when a tool or reasoning parser is configured because plain detokenization would "
    "leak raw parser markup into content."
)
# How many of the last token ids a client must send back for log probabilities.
CONTEXT = 4


def views(services: "Services") -> dict[str, Callable[[], Response]]:
    """The view of each path."""

    def chat() -> Response:
        from vllm_mock.protocol.scale_out.requests import DerenderChat

        body = headers.read(request.environ, DerenderChat)
        model = _model(services, body.model)
        limits = services.limits
        if body.chat_request is None and (limits.tool_call_parser or limits.reasoning_parser):
            raise ApiError.bad_request(NEEDS_REQUEST)
        if body.stream:
            return json_reply(compact(_chat_chunk(services, body, model)))
        return json_reply(_whole_chat(services, body, model))

    def completions() -> Response:
        from vllm_mock.protocol.scale_out.requests import DerenderCompletion

        body = headers.read(request.environ, DerenderCompletion)
        model = _model(services, body.model)
        if body.stream:
            return json_reply(compact(_completion_chunk(services, body, model)))
        if not body.generate_responses:
            raise ApiError.bad_request("generate_responses must not be empty")
        return json_reply(_whole_completions(services, body, model))

    return {"/v1/chat/completions/derender": chat, "/v1/completions/derender": completions}


def _model(services: "Services", asked: str | None) -> str:
    resolve_model(services, asked)
    return asked or services.settings.served_model_name[0]


def _response_id(response: Any) -> str:
    return response.request_id or f"{random.getrandbits(64):016x}"


# --- whole answers


def _whole_chat(services: "Services", body: Any, model: str) -> bytes:
    response = body.generate_response
    shown = [_chat_choice(services, body.chat_request, choice) for choice in response.choices]
    usage = _usage([response], [body.prompt_tokens])
    envelope = Envelope(_response_id(response), int(time.time()), model, None, usage)
    if response.kv_transfer_params is not None:
        envelope.kv_transfer_params = compact(response.kv_transfer_params)
    return chat_completion(envelope, services.settings.response_role, shown)


def _chat_choice(services: "Services", chat: Any, choice: Any) -> Choice:
    parsing = _parsing(services, chat, streamed=False)
    ids = _ids(choice)
    plan = _plan(services, ids, choice.finish_reason or "stop", choice.stop_reason, parsing)
    shown = Choice(plan.text, plan.finish_reason, plan.stop_reason)
    if parsing is not None:
        output = parse_output(plan, parsing)
        shown = Choice(output.content, output.finish_reason, plan.stop_reason)
        shown.reasoning, shown.tool_calls = output.reasoning, output.tool_calls
    if choice.logprobs is not None:
        shown.logprobs = compact(_named_logprobs(services, choice.logprobs))
    if chat is not None and chat.return_token_ids:
        shown.token_ids = compact(ids)
    return shown


def _whole_completions(services: "Services", body: Any, model: str) -> bytes:
    responses = body.generate_responses
    shown = []
    wants_ids = body.completion_request is not None and body.completion_request.return_token_ids
    for response in responses:
        for choice in response.choices:
            ids = _ids(choice, f" in response {_response_id(response)}")
            one = Choice(services.tokenizer.decode(ids), choice.finish_reason or "stop", choice.stop_reason)
            if choice.logprobs is not None:
                one.logprobs = compact(_completion_logprobs(services, choice.logprobs, 0))
            if wants_ids:
                one.token_ids = json_ids(ids)
            shown.append(one)
    usage = _usage(responses, body.prompt_tokens or ())
    envelope = Envelope(_response_id(responses[0]), int(time.time()), model, None, usage)
    return text_completion(envelope, shown)


def _usage(responses: Sequence[Any], prompt_tokens: Sequence[int | None]) -> Usage:
    """The prompts' tokens as the client counted them; those of the answers are here."""
    generated = sum(len(choice.token_ids or ()) for response in responses for choice in response.choices)
    return Usage(sum(count or 0 for count in prompt_tokens), generated)


def _ids(choice: Any, where: str = "") -> list[int]:
    if not choice.token_ids:
        raise ApiError.bad_request(f"choice {choice.index}{where} has empty or null token_ids")
    return choice.token_ids


def _parsing(services: "Services", chat: Any, *, streamed: bool) -> OutputParsing | None:
    from vllm_mock.protocol.stages import CheckedPrompt

    if chat is None:
        return None
    parsing = output_parsing(services, chat, CheckedPrompt([], "", 0))
    if parsing is not None:
        parsing.streamed = streamed
        parsing.stream_interval = 1
    return parsing


def _plan(
    services: "Services", ids: list[int], finish_reason: Any, stop_reason: Any, parsing: OutputParsing | None
) -> ChoicePlan:
    """The answer as if it had been generated here."""
    marked = parsing is not None and bool(parsing.tools or parsing.reasoning)
    kept = [token_id for token_id in ids if token_id != services.tokenizer.eos_token_id] if marked else ids
    texts = Detokenizer(services.tokenizer).deltas(kept, skip_special_tokens=not marked)
    return ChoicePlan(list(kept), texts, finish_reason, stop_reason)


def _named_logprobs(services: "Services", logprobs: Any) -> dict[str, Any]:
    def named(entry: Any) -> dict[str, Any]:
        text = services.tokenizer.decode([entry.token_id], skip_special_tokens=False)
        return {"token": text, "logprob": entry.logprob, "bytes": list(text.encode())}

    content = [
        {**named(entry), "top_logprobs": [named(other) for other in entry.top_logprobs]}
        for entry in logprobs.content or ()
    ]
    return {"content": content}


def _completion_logprobs(services: "Services", logprobs: Any, offset: int) -> dict[str, Any]:
    """The same in the form of completions; `offset` is where the text begins, in characters."""
    named = _named_logprobs(services, logprobs)["content"]
    tokens = [entry["token"] for entry in named]
    return {
        "text_offset": list(accumulate(map(len, tokens), initial=offset))[:-1],
        "token_logprobs": [entry["logprob"] for entry in named],
        "tokens": tokens,
        "top_logprobs": [{top["token"]: top["logprob"] for top in entry["top_logprobs"]} or None for entry in named],
    }


# --- chunks


def _chat_chunk(services: "Services", body: Any, model: str) -> dict[str, Any]:
    chunk, state = body.generate_chunk, _state(body)
    if len(chunk.choices) > 1:
        text = f"derender_chat_stream expects at most one choice per chunk (got {len(chunk.choices)})."
        raise ApiError.bad_request(text)
    parsing = _parsing(services, body.chat_request, streamed=True)
    choices = []
    for choice in chunk.choices:
        ids = choice.token_ids or []
        delta, finish_reason = _chat_delta(services, state, ids, choice.finish_reason, parsing)
        delta = {"role": None if state.role_sent else services.settings.response_role, **delta}
        state.role_sent = True
        choices.append(
            {
                "index": choice.index,
                "delta": delta,
                "logprobs": None if choice.logprobs is None else _named_logprobs(services, choice.logprobs),
                "finish_reason": finish_reason,
                "stop_reason": choice.stop_reason,
                "token_ids": ids if body.chat_request is not None and body.chat_request.return_token_ids else None,
                "weight_versions": None,
            }
        )
    head = _chunk_head(chunk, model, "chat.completion.chunk", choices)
    shown = {**head, "prompt_token_ids": None, "prompt_text": None, "metrics": None, "kv_transfer_params": None}
    return {"chunk": shown, "stream_state": state.model_dump()}


def _chat_delta(
    services: "Services", state: Any, ids: list[int], finish_reason: str | None, parsing: OutputParsing | None
) -> tuple[dict[str, Any], str | None]:
    """The content, reasoning and calls that these tokens add, and why the choice ends."""
    state.logprob_context_token_ids = [*state.logprob_context_token_ids, *ids][-CONTEXT:]
    if parsing is None:
        texts = next_texts(services.tokenizer, state, ids, skip_special_tokens=True)
        return {"content": "".join(texts) or None, "reasoning": None}, finish_reason
    before = len(state.output_token_ids)
    state.output_token_ids = [*state.output_token_ids, *ids]
    if ids:
        state.output_chunk_lens = [*state.output_chunk_lens, len(ids)]
    plan = _plan(services, state.output_token_ids, finish_reason or "stop", None, parsing)
    output = parse_output(plan, parsing)
    return _added(output, before, state), None if finish_reason is None else output.finish_reason


def _added(output: ParsedOutput, before: int, state: Any) -> dict[str, Any]:
    """What the deltas from `before` on add. Calls keep the ids that earlier chunks told of."""
    new = [delta for delta in output.deltas[before:] if delta is not None]
    content = "".join(delta.content or "" for delta in new)
    reasoning = "".join(delta.reasoning or "" for delta in new)
    shown: dict[str, Any] = {"content": content or None, "reasoning": reasoning or None}
    calls = _calls(new, state)
    if calls:
        shown["tool_calls"] = calls
        state.tools_streamed = True
    return shown


def _calls(deltas: Sequence[OutputDelta], state: Any) -> list[dict[str, Any]]:
    calls: dict[int, dict[str, Any]] = {}
    for part in (call for delta in deltas for call in delta.tool_calls):
        call = calls.setdefault(part.index, {"index": part.index, "function": {}})
        if part.id is not None:
            call |= {"id": part.id, "type": "function"}
            state.last_tool_call_ids = [*state.last_tool_call_ids, part.id]
        if part.name is not None:
            call["function"]["name"] = part.name
        if part.arguments is not None:
            call["function"]["arguments"] = call["function"].get("arguments", "") + part.arguments
    return list(calls.values())


def _completion_chunk(services: "Services", body: Any, model: str) -> dict[str, Any]:
    chunk, state = body.generate_chunk, _state(body)
    if len(chunk.choices) > 1:
        raise ApiError.bad_request("derender_completion_stream expects at most one choice per chunk")
    choices = []
    for choice in chunk.choices:
        ids = choice.token_ids or []
        offset = state.logprob_text_offset
        text = "".join(next_texts(services.tokenizer, state, ids, skip_special_tokens=True))
        state.logprob_context_token_ids = [*state.logprob_context_token_ids, *ids][-CONTEXT:]
        state.logprob_text_offset += len(text)
        choices.append(
            {
                "index": choice.index,
                "text": text,
                "logprobs": None
                if choice.logprobs is None
                else _completion_logprobs(services, choice.logprobs, offset),
                "finish_reason": choice.finish_reason,
                "stop_reason": choice.stop_reason,
                "prompt_token_ids": None,
                "token_ids": None,
                "weight_versions": None,
            }
        )
    head = _chunk_head(chunk, model, "text_completion", choices)
    shown = {**head, "metrics": None, "kv_transfer_params": None}
    return {"chunk": shown, "stream_state": state.model_dump()}


def _state(body: Any) -> Any:
    from vllm_mock.protocol.scale_out.requests import StreamState

    return body.stream_state or StreamState()


def _chunk_head(chunk: Any, model: str, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    usage = None
    if chunk.usage is not None:
        counts = {name: getattr(chunk.usage, name) for name in ("prompt_tokens", "total_tokens", "completion_tokens")}
        usage = {**counts, "prompt_tokens_details": None, "completion_tokens_details": None}
    return {
        "id": _response_id(chunk),
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "choices": choices,
        "usage": usage,
        "system_fingerprint": None,
    }
