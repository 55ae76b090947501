"""The `metrics` object of an answer under --enable-per-request-metrics."""

from vllm_mock.protocol.json_text import compact
from vllm_mock.routes.openai.runs import Run


def request_metrics(run: Run) -> dict[str, float | None]:
    """Times in milliseconds of one finished sequence, from its planned timeline, and its tokens per second."""
    handle = run.handle
    tokens = len(run.plan.token_ids)
    first = handle.first_token_due - handle.queued
    generation = handle.last_token_due - handle.first_token_due
    total = first + generation
    return {
        "time_to_first_token_ms": first * 1000,
        "generation_time_ms": generation * 1000,
        "queue_time_ms": (handle.scheduled - handle.queued) * 1000,
        "mean_itl_ms": generation * 1000 / (tokens - 1) if tokens > 1 else None,
        "tokens_per_second": tokens / total if total > 0 else None,
        "speculative_decoding": None,
    }


def whole_answer_metrics(runs: list[Run], wanted: bool) -> str:
    """JSON text for a whole answer: null unless wanted, and for n > 1, where vLLM gives none."""
    return compact(request_metrics(runs[0])) if wanted and len(runs) == 1 else "null"


def usage_chunk_metrics(runs: list[Run], wanted: bool) -> str | None:
    """JSON text for a stream's last chunk, without what has no value; None when there is nothing to tell."""
    if not wanted or len(runs) != 1:
        return None
    return compact({name: value for name, value in request_metrics(runs[0]).items() if value is not None})
