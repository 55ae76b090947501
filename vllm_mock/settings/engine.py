"""Rows of the table: latencies, the engine's limits, and metrics."""

from typing import Any

from .durations import MILLISECONDS, SECONDS, SECONDS_PER_1000
from .flag import Environment, from_environment, setting
from .kinds import LATCH, SWITCH, TEXT, Kind, choice, human, integer, json_object, number, optional
from .structures import HISTOGRAM_BUCKETS, KV_EVENTS, KV_TRANSFER

# AIBrix's variable has 0 for "no capacity is set".
CAPACITY = Kind(
    lambda words: integer(0).convert(words) or None,
    "an integer of 0 or more (0: unlimited)",
    "REQUESTS",
    unit="requests",
)

# As AIBrix's mock names them.
PD_CONTRACTS = ("vllm-aibrix-shfs", "vllm-aibrix-nixl", "sglang-http", "trtllm-openai")


class LatencySettings:
    """Latency"""

    time_to_first_token: float = setting(
        0.030,
        MILLISECONDS,
        "From admission to the first token, besides the time of the prefill.",
        environment=(Environment("MOCK_TTFT_BASE_SECONDS", SECONDS),),
    )
    time_to_first_token_std_dev: float = setting(0.0, MILLISECONDS, "Standard deviation of that time.")
    inter_token_latency: float = setting(
        0.010,
        MILLISECONDS,
        "From one token to the next.",
        environment=(Environment("MOCK_DECODE_SECONDS_PER_TOKEN", SECONDS),),
    )
    inter_token_latency_std_dev: float = setting(0.0, MILLISECONDS, "Standard deviation of that time.")
    prefill_overhead: float = setting(0.0, MILLISECONDS, "Constant part of a prefill.")
    prefill_time_per_token: float = setting(
        20e-6,
        MILLISECONDS,
        "Prefill of one prompt token that is not in the prefix cache.",
        environment=(Environment("MOCK_PREFILL_SECONDS_PER_1K_TOKENS", SECONDS_PER_1000),),
    )
    prefill_time_std_dev: float = setting(0.0, MILLISECONDS, "Standard deviation of the time of a prefill.")
    kv_cache_transfer_latency: float = setting(
        0.0,
        MILLISECONDS,
        "Time to the first token, instead of TTFT and prefill, when the KV cache comes from a peer.",
    )
    kv_cache_transfer_latency_std_dev: float = setting(0.0, MILLISECONDS, "Standard deviation of that time.")
    kv_cache_transfer_time_per_token: float = setting(
        0.0, MILLISECONDS, "Added to that for each prompt token that is not in the prefix cache."
    )
    kv_cache_transfer_time_std_dev: float = setting(
        0.0, MILLISECONDS, "Standard deviation of what is added for all tokens together."
    )
    time_factor_under_load: float = setting(
        1.0,
        number(1.0),
        "Factor on all times when --max-num-seqs requests run; in proportion when fewer run.",
    )
    request_duration: float = setting(
        0.0,
        MILLISECONDS,
        "Least duration of a whole request.",
        environment=(Environment("MOCK_REQUEST_DURATION_SECONDS", SECONDS),),
    )
    latency_jitter: float = setting(
        0.0,
        MILLISECONDS,
        "Each token comes earlier or later by a random time of up to this.",
        environment=(Environment("MOCK_LATENCY_JITTER_SECONDS", SECONDS),),
    )
    server_capacity: int | None = setting(
        None,
        CAPACITY,
        "Running requests beyond which each further one adds the overload penalty.",
        environment=(Environment("MOCK_SERVER_CAPACITY"),),
    )
    overload_penalty: float = setting(
        0.0,
        MILLISECONDS,
        "Added to the time to first token for each request beyond the capacity.",
        environment=(Environment("MOCK_OVERLOAD_PENALTY_SECONDS", SECONDS),),
    )


class EngineSettings:
    """Engine"""

    max_num_seqs: int = setting(1024, integer(1, unit="requests"), "Most requests that run at once.")
    max_num_batched_tokens: int = setting(8192, human(1, unit="tokens"), "Most tokens in one step of the engine.")
    max_num_queued_reqs: int | None = setting(
        None,
        optional(integer(0, unit="requests")),
        "Most unfinished requests, running or waiting; more are refused with 503.",
    )
    max_num_queued_tokens: int | None = setting(
        None,
        optional(human(0, unit="tokens")),
        "Prompt tokens before their first output token at which requests are refused with 503.",
    )
    max_waiting_queue_length: int | None = setting(
        None,
        optional(integer(0, unit="requests")),
        "Most requests that wait, running ones not counted; more are refused with 503.",
    )
    enable_chunked_prefill: bool = setting(
        True, SWITCH, "In a simulation, a step may compute a part of a prompt: what has room beside the other requests."
    )
    long_prefill_token_threshold: int = setting(
        0, integer(0, unit="tokens"), "In a simulation, most tokens of one prompt in a step (0: no limit)."
    )
    scheduler_reserve_full_isl: bool = setting(
        True, SWITCH, "In a simulation, a request starts only when there are free blocks for its whole prompt."
    )
    scheduling_policy: str = setting(
        "fcfs", choice("fcfs", "priority"), "Order of waiting requests: as they came, or by priority."
    )
    block_size: int = setting(16, integer(1, unit="tokens"), "Size of a block of the KV cache.")
    num_gpu_blocks: int = setting(
        65536,
        optional(integer(1, unit="blocks"), 65536),
        "Size of the KV cache; in a simulation the default follows from the GPU's memory.",
        name="--num-gpu-blocks-override",
        also=("--kv-cache-size",),
    )
    gpu_memory_utilization: float = setting(
        0.92,
        number(0, 1, above=True),
        "Share of the GPU's memory that may be used: in a simulation it sizes the KV cache.",
        also=("--device-memory-utilization",),
    )
    kv_cache_dtype: str = setting(
        "auto", TEXT, "Type of the KV cache; in a simulation it counts for its size and its speed."
    )
    enable_prefix_caching: bool = setting(
        True, SWITCH, "Reuse the KV cache of equal prompt beginnings.", also=("--enable-kvcache",)
    )
    prefix_caching_hash_algo: str = setting(
        "sha256",
        choice("sha256", "sha256_cbor", "xxhash", "xxhash_cbor"),
        "Hash of blocks in the prefix cache, as KV events show it.",
    )
    tensor_parallel_size: int = setting(
        1, integer(1), "GPUs of one engine, which share its work in a simulation.", also=("-tp",)
    )
    pipeline_parallel_size: int = setting(
        1, integer(1), "Stages of one engine, each with its part of the layers in a simulation.", also=("-pp",)
    )
    data_parallel_size: int = setting(1, integer(1), "Worker processes, each with its own engine.", also=("-dp",))
    enable_expert_parallel: bool = setting(
        False, SWITCH, "Expert parallelism, shown in the fingerprint.", also=("-ep",)
    )
    pd_contract: str | None = setting(
        None,
        optional(choice(*PD_CONTRACTS)),
        "What each half of a disaggregated request must bring: a form of AIBrix's gateway, refused with 400 otherwise.",
        environment=(Environment("MOCK_PD_CONTRACT"),),
    )
    pd_role: str | None = setting(
        None,
        optional(choice("prefill", "decode")),
        "The half that this server does under --pd-contract.",
        environment=(Environment("MOCK_PD_ROLE"),),
    )
    kv_transfer_config: dict[str, Any] | None = setting(
        None, optional(KV_TRANSFER), "How prefill and decode exchange KV caches: kv_connector, kv_role, ..."
    )
    kv_transfer_host: str | None = from_environment(
        None,
        TEXT,
        "Address of this server in the kv_transfer_params that it answers.",
        *("VLLM_NIXL_SIDE_CHANNEL_HOST", "POD_IP", "MY_POD_IP"),
        default_text="found by a route",
    )
    kv_transfer_port: int = from_environment(
        5600,
        integer(0, 65535),
        "Port in them; each data-parallel rank adds its number.",
        "VLLM_NIXL_SIDE_CHANNEL_PORT",
    )
    kv_events_config: dict[str, Any] | None = setting(
        None, optional(KV_EVENTS), "Publisher of KV-cache events: enable_kv_cache_events, endpoint, ..."
    )
    kv_events_format: str = setting(
        "map", choice("map", "array"), "Form of KV events: maps as vLLM, or arrays as its releases up to 0.23."
    )
    kv_events_use_int_block_hashes: bool = from_environment(
        True,
        SWITCH,
        "Show block hashes in KV events as 64-bit integers; else as bytes.",
        "VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES",
    )
    python_hash_seed: str | None = from_environment(
        None, TEXT, "Seed of the block hashes in KV events.", "PYTHONHASHSEED", default_text="vLLM's"
    )
    host_ip: str | None = from_environment(
        None, TEXT, "Address of this node, for endpoints tcp://*:0.", "VLLM_HOST_IP", default_text="found by a route"
    )
    llm_engine: str = setting(
        "vllm",
        choice("vllm", "sglang", "trtllm"),
        "Engine whose metrics are served, under its names.",
        environment=(Environment("LLM_ENGINE"),),
    )


class MetricsSettings:
    """Metrics"""

    metrics_mode: str = setting(
        "",
        choice("mock", "live"),
        "Metrics that are inverse to the replicas, or those of the requests alone.",
        default_text="mock, live when simulating",
    )
    legacy_metrics: bool = setting(True, SWITCH, "Serve metrics that vLLM has dropped but AIBrix reads.")
    protect_admin: bool = setting(
        False, SWITCH, "Ask for the API key on /set_metrics, /mock and all other routes that change the server."
    )
    disable_log_stats: bool = setting(False, LATCH, "Serve no metrics of the engine.")
    custom_histogram_buckets: dict[str, list[float]] = setting(
        {}, optional(HISTOGRAM_BUCKETS, {}), "Bounds of the buckets, by name of the histogram's group."
    )
    kv_cache_metrics: bool = setting(
        False, SWITCH, "Show how long blocks stay in the prefix cache, and how often they are used."
    )
    kv_cache_metrics_sample: float = setting(0.01, number(0, 1), "Share of the blocks that this follows.")
    metrics_overrides: dict[str, Any] = from_environment(
        {}, json_object(), "Values for POST /set_metrics's keys at start.", "METRICS_OVERRIDES"
    )
