"""How many tokens fit into the KV cache of a simulated GPU."""

from vllm_mock.engine.step_time.device import find_device
from vllm_mock.engine.step_time.shape import find_shape
from vllm_mock.settings import Settings, SettingsError


def kv_cache_tokens(settings: Settings) -> int:
    """Tokens that the memory of the GPUs holds beside the weights; --num-gpu-blocks-override wins.

    SettingsError where the weights do not fit.
    """
    if "num_gpu_blocks" in settings.given:
        return settings.num_gpu_blocks * settings.block_size
    device, shape = find_device(settings.simulation), find_shape(settings)
    gpus = settings.tensor_parallel_size * settings.pipeline_parallel_size
    free = gpus * device.memory * settings.gpu_memory_utilization - 2 * shape.weights
    tokens = int(free / (2 * shape.kv_values))
    if tokens < settings.block_size:
        raise SettingsError(f"--model {settings.model} does not fit into the memory of {gpus} {device.name}")
    return tokens
