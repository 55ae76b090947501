"""The families of SGLang and TensorRT-LLM, as data: which of vLLM's values each shows, under which name.

Names, types, labels and buckets: SGLang's production metrics (2026) and TensorRT-LLM's metrics collector (2026).
"""

from dataclasses import dataclass, field

from vllm_mock.metrics.catalogue import BUCKETS

_SGLANG_STAGES = tuple(0.001 * 1.62**number for number in range(30))
_SGLANG_QUEUE = (
    *(0.0, 0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 100, 200, 300, 400, 500, 600),
    *(700, 800, 900, 1000, 1200, 1400, 1600, 1800, 2000, 2500, 3000),
)
_SGLANG_LATENCY = (0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400)
_SGLANG_GAPS = (
    *(0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.06, 0.08),
    *(0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8),
)
_TRTLLM_PREFILL = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 640, 2560)


@dataclass(frozen=True, slots=True)
class EngineFamily:
    """A family of another engine. `name` is the printed one; `source` a family of vLLM, or one of `DERIVED`.

    `buckets`: the bounds in which the source's values are counted. `labels`: further labels of this series.
    """

    name: str
    type: str
    help: str
    source: str
    buckets: tuple[float, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)


DERIVED = ("used_tokens", "capacity_tokens", "hit_rate", "generation_throughput", "finished", "aborted", "nothing")
"""Values that no family of vLLM has; `nothing` is always 0 here."""

SGLANG: tuple[EngineFamily, ...] = (
    EngineFamily("sglang:num_running_reqs", "gauge", "Requests in the running batch.", "vllm:num_requests_running"),
    EngineFamily("sglang:num_used_tokens", "gauge", "Tokens held in the KV cache.", "used_tokens"),
    EngineFamily("sglang:token_usage", "gauge", "Share of the KV cache in use, 0 to 1.", "vllm:kv_cache_usage_perc"),
    EngineFamily("sglang:gen_throughput", "gauge", "Generated tokens per second.", "generation_throughput"),
    EngineFamily("sglang:num_queue_reqs", "gauge", "Requests in the waiting queue.", "vllm:num_requests_waiting"),
    EngineFamily("sglang:num_grammar_queue_reqs", "gauge", "Requests that wait for a grammar.", "nothing"),
    EngineFamily("sglang:cache_hit_rate", "gauge", "Share of prompt tokens found in the prefix cache.", "hit_rate"),
    EngineFamily("sglang:max_total_num_tokens", "gauge", "Tokens that the KV cache holds.", "capacity_tokens"),
    EngineFamily("sglang:num_retracted_reqs", "gauge", "Requests whose blocks were taken back.", "nothing"),
    EngineFamily(
        "sglang:num_retracted_requests_total", "counter", "Requests taken back so far.", "vllm:num_preemptions"
    ),
    EngineFamily("sglang:num_paused_reqs", "gauge", "Paused requests.", "nothing"),
    EngineFamily("sglang:num_prefill_prealloc_queue_reqs", "gauge", "Prefill requests without memory.", "nothing"),
    EngineFamily("sglang:num_prefill_inflight_queue_reqs", "gauge", "Prefills being sent on.", "nothing"),
    EngineFamily("sglang:num_decode_prealloc_queue_reqs", "gauge", "Decode requests without memory.", "nothing"),
    EngineFamily("sglang:num_decode_transfer_queue_reqs", "gauge", "Decode requests awaiting their KV.", "nothing"),
    EngineFamily(
        "sglang:queue_time_seconds",
        "histogram",
        "Time in the waiting queue, in seconds.",
        "vllm:request_queue_time_seconds",
        _SGLANG_QUEUE,
    ),
    EngineFamily(
        "sglang:per_stage_req_latency_seconds",
        "histogram",
        "Time that requests spend in each stage, in seconds.",
        "vllm:request_prefill_time_seconds",
        _SGLANG_STAGES,
        {"stage": "prefill_forward"},
    ),
    EngineFamily(
        "sglang:per_stage_req_latency_seconds",
        "histogram",
        "Time that requests spend in each stage, in seconds.",
        "vllm:request_decode_time_seconds",
        _SGLANG_STAGES,
        {"stage": "decode_forward"},
    ),
    EngineFamily("sglang:prompt_tokens_total", "counter", "Prompt tokens.", "vllm:prompt_tokens"),
    EngineFamily("sglang:generation_tokens_total", "counter", "Generated tokens.", "vllm:generation_tokens"),
    EngineFamily("sglang:cached_tokens_total", "counter", "Cached prompt tokens.", "vllm:prompt_tokens_cached"),
    EngineFamily("sglang:num_requests_total", "counter", "Finished requests.", "finished"),
    EngineFamily("sglang:num_aborted_requests_total", "counter", "Aborted requests.", "aborted"),
    EngineFamily(
        "sglang:time_to_first_token_seconds",
        "histogram",
        "From arrival to first token, in seconds.",
        "vllm:time_to_first_token_seconds",
        _SGLANG_LATENCY,
    ),
    EngineFamily(
        "sglang:inter_token_latency_seconds",
        "histogram",
        "From one token to the next, in seconds.",
        "vllm:inter_token_latency_seconds",
        _SGLANG_GAPS,
    ),
    EngineFamily(
        "sglang:e2e_request_latency_seconds",
        "histogram",
        "From arrival to last token, in seconds.",
        "vllm:e2e_request_latency_seconds",
        (*_SGLANG_LATENCY, 600, 1200, 1800, 2400),
    ),
)

TRTLLM: tuple[EngineFamily, ...] = (
    *(
        EngineFamily(
            "trtllm_request_success_total",
            "counter",
            "Finished requests.",
            f"vllm:request_success:{reason}",
            labels={"finished_reason": reason},
        )
        for reason in ("stop", "length")
    ),
    EngineFamily(
        "trtllm_e2e_request_latency_seconds",
        "histogram",
        "From arrival to last token, in seconds.",
        "vllm:e2e_request_latency_seconds",
        BUCKETS["request_latency"],
    ),
    EngineFamily(
        "trtllm_time_to_first_token_seconds",
        "histogram",
        "From arrival to first token, in seconds.",
        "vllm:time_to_first_token_seconds",
        BUCKETS["time_to_first_token"],
    ),
    EngineFamily(
        "trtllm_time_per_output_token_seconds",
        "histogram",
        "Mean time from token to token of each finished request, in seconds.",
        "vllm:request_time_per_output_token_seconds",
        BUCKETS["inter_token_latency"],
    ),
    EngineFamily(
        "trtllm_request_queue_time_seconds",
        "histogram",
        "Time in the waiting queue, in seconds.",
        "vllm:request_queue_time_seconds",
        BUCKETS["request_latency"],
    ),
    EngineFamily(
        "trtllm_request_prefill_time_seconds",
        "histogram",
        "From leaving the queue to first token, in seconds.",
        "vllm:request_prefill_time_seconds",
        _TRTLLM_PREFILL,
    ),
    EngineFamily(
        "trtllm_request_decode_time_seconds",
        "histogram",
        "From first to last token, in seconds.",
        "vllm:request_decode_time_seconds",
        BUCKETS["request_latency"],
    ),
    EngineFamily(
        "trtllm_request_inference_time_seconds",
        "histogram",
        "From leaving the queue to last token, in seconds.",
        "vllm:request_inference_time_seconds",
        BUCKETS["request_latency"],
    ),
    EngineFamily("trtllm_prompt_tokens_total", "counter", "Prompt tokens.", "vllm:prompt_tokens"),
    EngineFamily("trtllm_generation_tokens_total", "counter", "Generated tokens.", "vllm:generation_tokens"),
    EngineFamily("trtllm_kv_cache_hit_rate", "gauge", "Share of prompt tokens found in the KV cache.", "hit_rate"),
    EngineFamily(
        "trtllm_kv_cache_utilization", "gauge", "Share of the KV cache in use, 0 to 1.", "vllm:kv_cache_usage_perc"
    ),
    EngineFamily("trtllm_num_requests_running", "gauge", "Running requests.", "vllm:num_requests_running"),
    EngineFamily("trtllm_num_requests_waiting", "gauge", "Waiting requests.", "vllm:num_requests_waiting"),
    EngineFamily("trtllm_num_requests_completed_total", "counter", "Finished requests.", "finished"),
)

ENGINES: dict[str, tuple[EngineFamily, ...]] = {"sglang": SGLANG, "trtllm": TRTLLM}


def engine_labels(engine: str, model_name: str, rank: int = 0, ranks: int = 1) -> dict[str, str]:
    """The labels that every series of an engine has; `rank` of `ranks` data-parallel ones, each a single GPU."""
    if engine == "vllm":
        return {"model_name": model_name, "engine": str(rank)}
    data_parallel = {"dp_rank": str(rank)} if ranks > 1 else {}
    if engine == "sglang":
        first = {"tp_rank": "0", "pp_rank": "0", "moe_ep_rank": "0"}
        return {"model_name": model_name, "engine_type": "unified", **first, **data_parallel}
    return {"model_name": model_name, "engine_type": "trtllm", **data_parallel}


_DERIVED_FROM = {
    "generation_throughput": "vllm:avg_generation_throughput_toks_per_s",
    "finished": "vllm:request_success_total",
    "vllm:request_success:stop": "vllm:request_success_total",
}


def names_by_vllm_family(engine: str) -> dict[str, str]:
    """How an engine prints what vLLM prints under a name; nothing for vLLM itself."""
    names: dict[str, str] = {}
    for family in ENGINES.get(engine, ()):
        printed = family.source + ("_total" if family.type == "counter" else "")
        names.setdefault(_DERIVED_FROM.get(family.source, printed), family.name)
    return names
