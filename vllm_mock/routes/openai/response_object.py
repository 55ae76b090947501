"""The object that /v1/responses answers, and the items of its output."""

import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm_mock.generation import TokenLogprobs
    from vllm_mock.protocol.responses import ResponsesRequest
    from vllm_mock.routes.openai.runs import Run

Item = dict[str, Any]


def new_id(prefix: str) -> str:
    """`prefix_` and 16 random hex digits."""
    return f"{prefix}_{random.getrandbits(64):016x}"


def response_object(
    request: "ResponsesRequest", response_id: str, created: int, model: str, max_output_tokens: int
) -> dict[str, Any]:
    """A response in progress, keys in vLLM's order; `max_output_tokens` is the bound in force."""
    choice = request.tool_choice
    return {
        "id": response_id,
        "created_at": created,
        "incomplete_details": None,
        "instructions": request.instructions,
        "metadata": request.metadata,
        "model": model,
        "object": "response",
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "temperature": _temperature(request.temperature),
        "tool_choice": choice if isinstance(choice, str | dict) else choice.model_dump(),
        "tools": [tool if isinstance(tool, dict) else tool.model_dump() for tool in request.tools],
        # Greedy sampling looks at no other token.
        "top_p": 1.0 if request.top_p is None or request.temperature == 0 else request.top_p,
        "background": bool(request.background),
        "max_output_tokens": max_output_tokens,
        "max_tool_calls": request.max_tool_calls,
        "previous_response_id": request.previous_response_id,
        "prompt": None,
        "prompt_cache_options": cache.model_dump() if (cache := request.prompt_cache_options) else None,
        "prompt_cache_key": request.prompt_cache_key,
        "prompt_cache_retention": request.prompt_cache_retention,
        "reasoning": None if request.reasoning is None else request.reasoning.model_dump(),
        "safety_identifier": request.safety_identifier,
        "service_tier": request.service_tier,
        "status": "in_progress",
        "text": None if request.text is None else request.text.model_dump(),
        "top_logprobs": request.top_logprobs or 0 if request.wants_logprobs else None,
        "truncation": request.truncation,
        "usage": None,
        "user": request.user,
        "presence_penalty": 0.0 if request.presence_penalty is None else request.presence_penalty,
        "frequency_penalty": 0.0 if request.frequency_penalty is None else request.frequency_penalty,
        "kv_transfer_params": None,
        "ec_transfer_params": None,
        "input_messages": None,
        "output_messages": None,
    }


def _temperature(asked: float | None) -> float:
    """vLLM's sampler takes no temperature between 0 and 0.01."""
    if asked is None:
        return 1.0
    return 0.01 if 0.0 < asked < 0.01 else asked


def finished(
    response: dict[str, Any], run: "Run", output: list[Item], cached_tokens: int, kv_transfer_params: Any
) -> dict[str, Any]:
    """The same response when all tokens have come; `cached_tokens` of its prompt did not have to be computed."""
    incomplete = run.plan.finish_reason == "length"
    return response | {
        "incomplete_details": {"reason": "max_output_tokens"} if incomplete else None,
        "output": output,
        "status": message_status(run),
        "usage": _usage(run, cached_tokens),
        "kv_transfer_params": kv_transfer_params,
    }


def _usage(run: "Run", cached_tokens: int) -> dict[str, Any]:
    prompt, generated = len(run.prompt.token_ids), len(run.plan.token_ids)
    return {
        "input_tokens": prompt,
        "input_tokens_details": {
            "cached_tokens": cached_tokens,
            "cache_write_tokens": 0,
            "input_tokens_per_turn": [],
            "cached_tokens_per_turn": [],
        },
        "output_tokens": generated,
        "output_tokens_details": {
            "reasoning_tokens": (run.output.reasoning_tokens or 0) if run.output is not None else 0,
            "tool_output_tokens": 0,
            "output_tokens_per_turn": [],
            "tool_output_tokens_per_turn": [],
        },
        "total_tokens": prompt + generated,
    }


def output_items(run: "Run", top_logprobs: int) -> list[Item]:
    """The items of a whole answer: reasoning, message, calls of functions."""
    parsed = run.output
    reasoning = None if parsed is None else parsed.reasoning
    content = run.plan.text if parsed is None else parsed.content
    calls = [] if parsed is None else parsed.tool_calls
    items: list[Item] = []
    if reasoning:
        items.append(reasoning_item(new_id("rs"), reasoning, None))
    if content or (content is not None and not (reasoning or calls)):
        logprobs = logprob_entries(run.plan.logprobs, top_logprobs)
        items.append(message_item(new_id("msg"), content or "", logprobs, message_status(run)))
    items += [call_item(new_id("fc"), call.id, call.name, call.arguments, "completed") for call in calls]
    return items


def message_status(run: "Run") -> str:
    """The status of a message, or response, that came to its end; to vLLM one that the operator ended is complete."""
    return "incomplete" if run.plan.finish_reason == "length" else "completed"


def reasoning_item(item_id: str, text: str | None, status: str | None) -> Item:
    """An item of reasoning; no text while it has just begun."""
    content = None if text is None else [{"text": text, "type": "reasoning_text"}]
    head = {"id": item_id, "summary": [], "type": "reasoning", "content": content}
    return {**head, "encrypted_content": None, "status": status}


def text_part(text: str, logprobs: list[Any] | None) -> dict[str, Any]:
    """The part of a message that is its text."""
    return {"annotations": [], "text": text, "type": "output_text", "logprobs": logprobs}


def message_item(item_id: str, text: str | None, logprobs: list[Any] | None, status: str) -> Item:
    """A message; no text while it has just begun."""
    content = [] if text is None else [text_part(text, logprobs)]
    head = {"id": item_id, "content": content, "role": "assistant", "status": status}
    return {**head, "type": "message", "phase": None}


def call_item(item_id: str, call_id: str, name: str, arguments: str, status: str) -> Item:
    """A call of a function."""
    head = {"arguments": arguments, "call_id": call_id, "name": name, "type": "function_call", "id": item_id}
    return {**head, "async": None, "caller": None, "namespace": None, "status": status}


def logprob_entries(entries: "list[TokenLogprobs] | None", top: int, *, with_bytes: bool = True) -> list[Any] | None:
    """The log probabilities of a text, as the Responses API lists them; without bytes in a stream's deltas."""
    if entries is None:
        return None
    listed = []
    for entry in entries:
        likeliest = list(zip(entry.top_tokens, (logprob for _, logprob in entry.top), strict=True))[:top]
        listed.append(
            {
                **_logprob(entry.token, entry.logprob, with_bytes),
                "top_logprobs": [_logprob(token, logprob, with_bytes) for token, logprob in likeliest],
            }
        )
    return listed


def _logprob(token: str, logprob: float, with_bytes: bool) -> dict[str, Any]:
    encoded = {"bytes": list(token.encode("utf-8", "replace"))} if with_bytes else {}
    return {"token": token, **encoded, "logprob": logprob}
