"""vllm:cache_config_info: the KV cache's configuration, told in labels."""

from vllm_mock.metrics.catalogue import Family
from vllm_mock.metrics.families import ValueSeries
from vllm_mock.settings import Settings

CACHE_CONFIG = "vllm:cache_config_info"
# Its labels, with vLLM's values where no setting of ours decides.
_DEFAULTS: dict[str, str] = {
    "_block_size_resolved": "True",
    "block_size": "16",
    "cache_dtype": "auto",
    "cache_hit_alignment_tokens": "None",
    "effective_attention_block_size": "None",
    "enable_mamba_shared_prefix_checkpoint": "False",
    "enable_prefix_caching": "True",
    "gpu_memory_utilization": "0.92",
    "hash_block_size": "None",
    "is_attention_free": "False",
    "kv_cache_dtype_skip_layers": "[]",
    "kv_cache_layout": "None",
    "kv_cache_max_concurrency": "None",
    "kv_cache_memory_bytes": "None",
    "kv_cache_size_tokens": "None",
    "kv_offloading_backend": "native",
    "kv_offloading_size": "None",
    "kv_sharing_fast_prefill": "False",
    "mamba_block_size": "None",
    "mamba_cache_dtype": "auto",
    "mamba_cache_mode": "none",
    "mamba_page_size_padded": "None",
    "mamba_ssm_cache_dtype": "auto",
    "num_cpu_blocks": "None",
    "num_gpu_blocks": "None",
    "num_gpu_blocks_override": "None",
    "prefix_cache_retention_interval": "0",
    "prefix_caching_hash_algo": "sha256",
    "prefix_match_unit": "None",
    "replayssm_buffer_len": "16",
    "simple_cpu_offload_num_blocks": "None",
    "skip_page_size_padded": "None",
    "sliding_window": "None",
    "swa_bounded_replay": "True",
    "use_kda_recoverssm": "False",
    "use_replayssm": "False",
    "user_specified_block_size": "False",
}


def cache_config_series(settings: Settings, engine: str) -> ValueSeries:
    """The family with its one series, whose value is 1."""
    blocks_given = "num_gpu_blocks" in settings.given
    labels = _DEFAULTS | {
        "block_size": str(settings.block_size),
        "cache_dtype": settings.kv_cache_dtype,
        "enable_prefix_caching": str(settings.enable_prefix_caching),
        "engine": engine,
        "gpu_memory_utilization": str(settings.gpu_memory_utilization),
        "num_gpu_blocks": str(settings.num_gpu_blocks),
        "num_gpu_blocks_override": str(settings.num_gpu_blocks) if blocks_given else "None",
        "prefix_caching_hash_algo": settings.prefix_caching_hash_algo,
        "user_specified_block_size": str("block_size" in settings.given),
    }
    text = "The configuration of the KV cache, as labels."
    series = ValueSeries(Family(CACHE_CONFIG, "gauge", text, labels=tuple(labels)), labels)
    series.at().value = 1
    return series
