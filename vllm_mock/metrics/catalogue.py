"""Every metric family of vLLM 0.33.0, as data, in the order of its /metrics page."""

from dataclasses import dataclass, field

from vllm_mock.engine import FINISH_REASONS

MODEL_LABELS = ("model_name", "engine")


@dataclass(frozen=True, slots=True)
class Family:
    """One family. `name` is without the suffix _total of counters.

    `labels` are filled in once for the server; `values` lists the values of further labels, each of
    which has a series from the start. `buckets` is a key of BUCKETS.
    """

    name: str
    type: str
    help: str
    values: dict[str, tuple[str, ...]] = field(default_factory=dict)
    labels: tuple[str, ...] = MODEL_LABELS
    buckets: str = ""


# Upper bounds: seconds, tokens or counts. "request_tokens" depends on the context length.
BUCKETS: dict[str, tuple[float, ...]] = {
    "request_latency": (
        *(0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680),
    ),
    "time_to_first_token": (
        *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
        *(1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560),
    ),
    "inter_token_latency": (
        *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80),
    ),
    "iteration_tokens": (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384),
    "request_params_n": (1, 2, 5, 10, 20),
    "request_num_preemptions": (1, 2, 3, 4, 5, 10, 20),
    "kv_residency": (
        *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
        *(1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800),
    ),
    "operations": (0.01, 0.1, 1, 10, 30, 60, 120, 300, 600),
}


def request_token_buckets(max_model_len: int) -> tuple[float, ...]:
    """1, 2, 5, 10, 20, 50, ... up to the context length in tokens."""
    bounds = []
    power = 1
    while power <= max_model_len:
        bounds += [factor * power for factor in (1, 2, 5) if factor * power <= max_model_len]
        power *= 10
    return tuple(bounds)


def _gauge(name: str, text: str, **values: tuple[str, ...]) -> Family:
    return Family(name, "gauge", text, values)


def _counter(name: str, text: str, **values: tuple[str, ...]) -> Family:
    return Family(name, "counter", text, values)


def _histogram(name: str, buckets: str, text: str) -> Family:
    return Family(name, "histogram", text, buckets=buckets)


VLLM_FAMILIES: tuple[Family, ...] = (
    _counter("vllm:estimated_flops_per_gpu", "Floating point operations that each GPU did, by estimate."),
    _counter("vllm:estimated_read_bytes_per_gpu", "Bytes that each GPU read from its memory, by estimate."),
    _counter("vllm:estimated_write_bytes_per_gpu", "Bytes that each GPU wrote to its memory, by estimate."),
    _gauge("vllm:num_requests_running", "Requests that have left the waiting queue and are not finished."),
    _gauge("vllm:num_requests_waiting", "Requests in the waiting queue."),
    _gauge(
        "vllm:num_requests_waiting_by_reason",
        "Requests in the waiting queue: for want of capacity, or deferred for another reason.",
        reason=("capacity", "deferred"),
    ),
    _gauge(
        "vllm:engine_sleep_state",
        "1 for the state that the engine is in: awake, level 1 (weights offloaded), level 2 (all discarded).",
        sleep_state=("awake", "weights_offloaded", "discard_all"),
    ),
    _gauge("vllm:kv_cache_usage_perc", "Share of the KV-cache blocks in use, from 0 to 1."),
    _counter("vllm:prefix_cache_queries", "Prompt tokens looked up in the prefix cache."),
    _counter("vllm:prefix_cache_hits", "Prompt tokens found in the prefix cache."),
    _counter("vllm:external_prefix_cache_queries", "Prompt tokens looked up in another instance's cache."),
    _counter("vllm:external_prefix_cache_hits", "Prompt tokens found in another instance's cache."),
    _counter("vllm:mm_cache_queries", "Multimodal items looked up in the cache of processed items."),
    _counter("vllm:mm_cache_hits", "Multimodal items found in the cache of processed items."),
    _counter("vllm:num_preemptions", "How often a running request had to give its blocks back."),
    _counter("vllm:prompt_tokens", "Prompt tokens of requests that got their first token, cached ones included."),
    _counter(
        "vllm:prompt_tokens_by_source",
        "Prompt tokens by where their keys and values came from.",
        source=("local_compute", "local_cache_hit", "external_kv_transfer"),
    ),
    _counter("vllm:prompt_tokens_cached", "Prompt tokens that did not have to be computed."),
    _counter(
        "vllm:prompt_tokens_cached_by_source",
        "Prompt tokens that did not have to be computed, by the tier of cache that held them.",
        source=("device", "host", "p2p", "disk", "external_unspecified"),
    ),
    _counter("vllm:generation_tokens", "Generated tokens."),
    _counter(
        "vllm:request_success",
        "Count of successfully processed requests.",
        finished_reason=FINISH_REASONS,
    ),
    Family(
        "vllm:admission_rejections",
        "counter",
        "Prompts refused by a limit of the queue.",
        {"reason": ("max_num_queued_reqs", "max_num_queued_tokens")},
        labels=("model_name",),
    ),
    _histogram("vllm:request_prompt_tokens", "request_tokens", "Prompt tokens of each finished request."),
    _histogram("vllm:request_generation_tokens", "request_tokens", "Generated tokens of each finished request."),
    _histogram("vllm:iteration_tokens_total", "iteration_tokens", "Tokens computed in each step of the engine."),
    _histogram(
        "vllm:request_max_num_generation_tokens",
        "request_tokens",
        "Generated tokens of the longest sequence of each finished prompt.",
    ),
    _histogram("vllm:request_params_n", "request_params_n", "Parameter n of each finished prompt."),
    _histogram("vllm:request_params_max_tokens", "request_tokens", "Parameter max_tokens, as bounded by the context."),
    _histogram("vllm:time_to_first_token_seconds", "time_to_first_token", "From arrival to first token, in seconds."),
    _histogram("vllm:inter_token_latency_seconds", "inter_token_latency", "From one token to the next, in seconds."),
    _histogram(
        "vllm:request_time_per_output_token_seconds",
        "inter_token_latency",
        "Mean time from token to token of each finished request, in seconds.",
    ),
    _histogram("vllm:e2e_request_latency_seconds", "request_latency", "From arrival to last token, in seconds."),
    _histogram("vllm:request_queue_time_seconds", "request_latency", "Time in the waiting queue, in seconds."),
    _histogram(
        "vllm:request_inference_time_seconds",
        "request_latency",
        "From leaving the queue to last token, in seconds.",
    ),
    _histogram(
        "vllm:request_prefill_time_seconds",
        "request_latency",
        "From leaving the queue to first token, in seconds.",
    ),
    _histogram("vllm:request_decode_time_seconds", "request_latency", "From first to last token, in seconds."),
    _histogram(
        "vllm:request_num_preemptions",
        "request_num_preemptions",
        "How often each finished request was preempted.",
    ),
    _histogram(
        "vllm:request_prefill_kv_computed_tokens",
        "request_tokens",
        "Prompt tokens computed for each finished request, cached ones excluded.",
    ),
)

KV_RESIDENCY: tuple[Family, ...] = (
    _histogram(
        "vllm:kv_block_lifetime_seconds",
        "kv_residency",
        "From storing to eviction of sampled blocks of the prefix cache, in seconds.",
    ),
    _histogram(
        "vllm:kv_block_idle_before_evict_seconds",
        "kv_residency",
        "From the last use to the eviction of sampled blocks of the prefix cache, in seconds.",
    ),
    _histogram(
        "vllm:kv_block_reuse_gap_seconds",
        "kv_residency",
        "From one use to the next of sampled blocks of the prefix cache, in seconds.",
    ),
)
"""There with --kv-cache-metrics."""

TOOL_CALL_PARSER = Family(
    "vllm:tool_call_parser_invocations",
    "counter",
    "Answers, or tokens of streamed ones, that the tool-call parser read, by what it found.",
    {
        "mode": ("streaming", "non_streaming"),
        "outcome": ("tool_call", "no_tool_call"),
        "request_type": ("chat_completions", "responses", "other"),
    },
    labels=("model_name",),
)
"""There with --tool-call-parser."""

KV_FETCH = Family(
    "vllm:num_requests_kv_fetch_by_stage",
    "gauge",
    "Requests whose KV cache comes from another instance, by how far that is.",
    {"stage": ("waiting_to_start", "in_progress", "completed_waiting")},
)
"""There with a KV-transfer configuration that receives."""

SLEEP_DURATION = Family(
    "vllm:sleep_mode_operation_duration_seconds",
    "histogram",
    "How long it took to fall asleep, to release the KV cache, or to wake up, in seconds.",
    labels=(),
    buckets="operations",
)
SLEEPS_IN_FLIGHT = Family(
    "vllm:sleep_mode_operations_in_flight",
    "gauge",
    "Operations of that kind that are going on.",
    {"operation": ("sleep", "release_kv_cache_memory", "wake")},
    labels=(),
)
WEIGHT_DURATION = Family(
    "vllm:rl_weight_update_operation_duration_seconds",
    "histogram",
    "How long each step of a transfer of weights took, in seconds.",
    labels=(),
    buckets="operations",
)
WEIGHTS_IN_FLIGHT = Family(
    "vllm:rl_weight_update_operations_in_flight",
    "gauge",
    "Steps of that kind that are going on.",
    {"operation": ("init", "shutdown", "start", "start_draft", "update", "finish")},
    labels=(),
)
"""These four are there from the first operation on."""

STREAM_LAG = Family(
    "vllm_mock:stream_lag_seconds",
    "gauge",
    "The worst lateness of a token in the last 10 seconds: when high, this process cannot keep up.",
)

DROPPED = Family(
    "vllm_mock:dropped_connections",
    "counter",
    "Connections given up because of the client: its request came too slowly or was too large, or it did not read.",
    {"reason": ("slow_request", "slow_reader", "too_large")},
    labels=(),
)
SIMULATOR_LAG = Family(
    "vllm_mock:simulator_lag_seconds",
    "gauge",
    "The worst lateness of a simulated step in the last 10 seconds: when high, this process cannot keep up.",
)
SIMULATION_INFO = Family(
    "vllm_mock:simulation_info",
    "gauge",
    "What is simulated, and where the times of its steps come from.",
    labels=(*MODEL_LABELS, "device", "step_time", "origin"),
)
"""These two are there in a simulation alone."""

LEGACY_FAMILIES: tuple[Family, ...] = (
    _gauge("vllm:num_requests_swapped", "Requests moved to the CPU's memory; vLLM has long stopped doing so."),
    _gauge("vllm:gpu_cache_usage_perc", "The older name of vllm:kv_cache_usage_perc."),
    _gauge("vllm:cpu_cache_usage_perc", "Share of the KV-cache blocks in the CPU's memory in use: there are none."),
    _counter("vllm:gpu_prefix_cache_queries", "The older name of vllm:prefix_cache_queries_total."),
    _counter("vllm:gpu_prefix_cache_hits", "The older name of vllm:prefix_cache_hits_total."),
    _gauge("vllm:gpu_prefix_cache_hit_rate", "Share of the prompt tokens that were found in the prefix cache."),
    _gauge("vllm:avg_prompt_throughput_toks_per_s", "Average prefill throughput in tokens/s."),
    _gauge("vllm:avg_generation_throughput_toks_per_s", "Average generation throughput in tokens/s."),
    _histogram(
        "vllm:time_per_output_token_seconds",
        "inter_token_latency",
        "The older name of vllm:inter_token_latency_seconds.",
    ),
    _counter("vllm:num_requests_success", "Requests that ended well, whatever the reason."),
)
"""What vLLM has dropped and AIBrix still reads."""

SAME_AS = {
    "vllm:gpu_cache_usage_perc": "vllm:kv_cache_usage_perc",
    "vllm:gpu_prefix_cache_queries": "vllm:prefix_cache_queries",
    "vllm:gpu_prefix_cache_hits": "vllm:prefix_cache_hits",
    "vllm:time_per_output_token_seconds": "vllm:inter_token_latency_seconds",
}
"""Families that show another one's value under an older name."""
