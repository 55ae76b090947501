"""How many blocks the KV cache of a simulated GPU has."""

from vllm_mock.settings import Settings


def sized(settings: Settings) -> Settings:
    """The settings, in a simulation with as many KV blocks as the GPU's memory has room for."""
    if not settings.simulation or "num_gpu_blocks" in settings.given:
        return settings
    from vllm_mock.engine.step_time import kv_cache_tokens

    return Settings(**{**vars(settings), "num_gpu_blocks": kv_cache_tokens(settings) // settings.block_size})
