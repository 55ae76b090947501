"""What chat and text completions have in common when an answer is put together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vllm_mock.engine import RequestHandle
from vllm_mock.kv_transfer import KVTransfer
from vllm_mock.protocol.disaggregation import disaggregation
from vllm_mock.protocol.json_text import compact
from vllm_mock.protocol.usage import Usage
from vllm_mock.routes.openai.runs import Run

if TYPE_CHECKING:
    from vllm_mock.services import Services


@dataclass(slots=True)
class AnswerOptions:
    """What the client wants to see of its answer.

    `handed_over_by`: what tells a peer where the KV cache is, if it is to go on; `cached_at_peer`: prompt tokens that
    a peer found in its cache; `context`: TensorRT-LLM's disaggregated_params of a prefill.
    """

    logprobs: bool = False
    top_logprobs: int = 0
    tokens_as_ids: bool = False
    return_token_ids: bool = False
    return_prompt_text: bool = False
    prompt_tokens_details: bool = False
    request_metrics: bool = False
    stream_interval: int = 1
    handed_over_by: KVTransfer | None = None
    cached_at_peer: int | None = None
    context: dict[str, Any] | None = None

    @property
    def plain(self) -> bool:
        """Nothing but text is wanted: chunks can be made from templates."""
        return not self.logprobs and not self.return_token_ids and self.stream_interval == 1

    def kv_transfer_params(self, run: Run) -> str:
        """JSON text for the end of a choice: where its KV cache is, if a peer is to go on with it."""
        return "null" if self.handed_over_by is None else compact(self.handed_over_by.params(run.handle))

    def flushes(self, start: int, end: int, last: int) -> Iterator[tuple[int, int]]:
        """(first, last) positions of the chunks sent while tokens start..end-1 arrive, `stream_interval` tokens each.

        The first token goes out at once; those behind the last full group wait for the final chunk, the one that
        carries the `last` token of all.
        """
        interval = self.stream_interval
        for position in range(start, min(end, last)):
            if position % interval == 0:
                yield max(0, position - interval + 1), position
        if end > last:
            yield last if last == 0 or interval == 1 else (last - 1) // interval * interval + 1, last


def final_usage(runs: Sequence[Run], options: AnswerOptions, *, chat: bool) -> Usage:
    """Counts of a whole request: each prompt once, the tokens of all choices."""
    usage = Usage(0, 0)
    counted = None
    for run in runs:
        usage.completion_tokens += len(run.plan.token_ids)
        # The choices of a prompt follow each other.
        if run.prompt is not counted:
            counted = run.prompt
            usage.prompt_tokens += len(counted.token_ids)
    if options.prompt_tokens_details:
        # vLLM reports what one prompt, the last, found in the prefix cache; its first choice computes the rest.
        last_prompt = next(run for run in runs if run.prompt is runs[-1].prompt)
        handle = last_prompt.handle
        usage.cached_tokens = cached_tokens(handle, options.cached_at_peer)
        usage.created_cache_tokens = handle.num_created_tokens if chat else None
    for run in runs:
        if run.output is not None and run.output.reasoning_tokens is not None:
            usage.reasoning_tokens = (usage.reasoning_tokens or 0) + run.output.reasoning_tokens
    return usage


def cached_tokens(handle: RequestHandle, cached_at_peer: int | None) -> int:
    """Prompt tokens that did not have to be computed; for a decode as the peer that did the prefill tells."""
    return handle.num_cached_tokens + handle.num_external_tokens if cached_at_peer is None else cached_at_peer


def answer_options(services: "Services", body: Any) -> AnswerOptions:
    """What a chat or completion request wants to see of its answer; `body` is the validated request."""
    settings = services.settings
    as_ids = body.return_tokens_as_token_ids
    shared_work = disaggregation(body)
    return AnswerOptions(
        logprobs=body.logprobs is not None and body.logprobs is not False,
        top_logprobs=getattr(body, "top_logprobs", None) or 0,
        tokens_as_ids=settings.return_tokens_as_token_ids if as_ids is None else as_ids,
        return_token_ids=bool(body.return_token_ids),
        return_prompt_text=bool(getattr(body, "return_prompt_text", False)),
        # vLLM's beam search does not tell what was cached.
        prompt_tokens_details=settings.enable_prompt_tokens_details and not body.use_beam_search,
        request_metrics=settings.enable_per_request_metrics,
        stream_interval=body.stream_interval or settings.stream_interval,
        handed_over_by=services.kv_transfer if shared_work.hands_over_kv else None,
        cached_at_peer=shared_work.cached_at_peer,
        context=shared_work.context,
    )


def stream_options(services: "Services", asked: Any) -> tuple[bool, bool]:
    """(include_usage, continuous_usage_stats) of a stream; the second has no effect without the first."""
    if services.settings.enable_force_include_usage:
        return True, True
    include_usage = bool(asked is not None and asked.include_usage)
    return include_usage, include_usage and bool(asked.continuous_usage_stats)
