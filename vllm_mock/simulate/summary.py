"""A simulation in a few numbers."""

from collections.abc import Iterable, Sequence
from typing import Any

from vllm_mock.simulate.results import RequestResult
from vllm_mock.simulate.timeline import Timeline

_PERCENTILES = (50, 90, 99)


def summary(results: Sequence[RequestResult], timeline: Timeline) -> dict[str, Any]:
    """Counts, throughput, and the distribution of each latency in seconds (None where there is nothing to tell)."""
    done = [result for result in results if result.token_times]
    start = min((result.arrival for result in done), default=0.0)
    seconds = max((result.token_times[-1] for result in done), default=0.0) - start
    prompt = sum(result.request.prompt_tokens for result in done)
    output = sum(len(result.token_times) for result in done)
    return {
        "requests": len(results),
        "refused": sum(result.refused is not None for result in results),
        "seconds": seconds,
        "prompt_tokens": prompt,
        "cached_tokens": sum(result.cached_tokens for result in done),
        "output_tokens": output,
        "requests_per_second": len(done) / seconds if seconds else None,
        "output_tokens_per_second": output / seconds if seconds else None,
        "total_tokens_per_second": (prompt + output) / seconds if seconds else None,
        "ttft_seconds": spread(result.ttft_seconds for result in done),
        "itl_seconds": spread(gap for result in done for gap in result.itl_seconds),
        "tpot_seconds": spread(result.tpot_seconds for result in done if result.tpot_seconds is not None),
        "e2e_seconds": spread(result.e2e_seconds for result in done),
        "queue_seconds": spread(result.queue_seconds for result in done),
        "preemptions": sum(result.preemptions for result in done),
        "steps": timeline.steps,
        "most_running": timeline.most_running,
        "most_waiting": timeline.most_waiting,
        "highest_kv_usage": timeline.highest_kv_usage,
    }


def spread(values: Iterable[float]) -> dict[str, float] | None:
    """Mean, percentiles (the nearest value that is not smaller) and maximum; None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    last = len(ordered) - 1
    found = {"mean": sum(ordered) / len(ordered)}
    found |= {f"p{percent}": ordered[min(last, -(-len(ordered) * percent // 100) - 1)] for percent in _PERCENTILES}
    return {**found, "max": ordered[-1]}


_LATENCIES = {
    "ttft_seconds": "time to first token",
    "itl_seconds": "inter-token latency",
    "e2e_seconds": "whole request",
    "queue_seconds": "in the queue",
}


def readable(found: dict[str, Any]) -> str:
    """The same for people."""
    rate = found["output_tokens_per_second"]
    lines = [
        f"{found['requests'] - found['refused']} of {found['requests']} requests in {found['seconds']:.1f} s"
        + ("" if rate is None else f": {found['requests_per_second']:.2f} requests/s, {rate:.0f} output tokens/s"),
        f"up to {found['most_running']} running and {found['most_waiting']} waiting, "
        f"KV cache up to {100 * found['highest_kv_usage']:.0f} % full, {found['preemptions']} preemptions",
        f"{found['cached_tokens']} of {found['prompt_tokens']} prompt tokens from the prefix cache",
        "",
        f"{'milliseconds':<22}" + "".join(f"{name:>10}" for name in ("mean", "p50", "p90", "p99", "max")),
    ]
    for key, name in _LATENCIES.items():
        if found[key] is not None:
            lines.append(f"{name:<22}" + "".join(f"{1000 * value:>10.1f}" for value in found[key].values()))
    return "\n".join(lines)
