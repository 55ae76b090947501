"""How many tokens fit into the KV cache of simulated GPUs."""

from vllm_mock.engine.step_time.device import find_device
from vllm_mock.engine.step_time.model import SimulatedModel, simulated_model
from vllm_mock.settings import Settings, SettingsError

# What the context of CUDA, its libraries and captured graphs take of each GPU, in bytes, and what NCCL adds.
_RESERVED = 1.2 * 2**30
_COMMUNICATION = 0.5 * 2**30


def kv_cache_tokens(settings: Settings) -> int:
    """Tokens that the memory of the GPUs holds beside the weights; --num-gpu-blocks-override wins.

    SettingsError where the weights leave no room for a block.
    """
    if "num_gpu_blocks" in settings.given:
        return settings.num_gpu_blocks * settings.block_size
    device, model = find_device(settings.simulation), simulated_model(settings)
    tensor, stages = settings.tensor_parallel_size, settings.pipeline_parallel_size
    taken = model.weight_bytes / (tensor * stages) + _activations(settings, model) + _RESERVED
    if tensor * stages > 1:
        taken += _COMMUNICATION
    per_token = model.shape.layers / stages * model.shape.kv_values(tensor) * model.kv_bytes
    free = device.memory * settings.gpu_memory_utilization - taken
    tokens = int(free / per_token) // settings.block_size * settings.block_size
    if tokens < settings.block_size:
        raise SettingsError(
            f"--model {settings.model} needs {taken / 2**30:.1f} GiB on each GPU, but {device.name} has "
            f"{device.memory / 2**30:.1f} GiB, of which --gpu-memory-utilization allows "
            f"{settings.gpu_memory_utilization:g}; raise --tensor-parallel-size"
        )
    return tokens


def _activations(settings: Settings, model: SimulatedModel) -> float:
    """Bytes at the peak of a step: the wider of an MLP's two halves, and the logits in 16 and 32 bits."""
    shape, gpus = model.shape, settings.tensor_parallel_size
    width = shape.intermediate if shape.experts is None else shape.experts.active * shape.experts.intermediate
    layer = settings.max_num_batched_tokens * 2 * (2 * width / gpus + 4 * shape.hidden)
    logits = settings.max_num_seqs * shape.vocab * (2 + 4)
    return max(layer, logits)
