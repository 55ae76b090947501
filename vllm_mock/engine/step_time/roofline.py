"""Roofline: the time of a step from the dimensions of model and device."""

from vllm_mock.engine.step_time.base import Origin
from vllm_mock.engine.step_time.batch import Batch
from vllm_mock.engine.step_time.device import Device, find_device
from vllm_mock.engine.step_time.shape import ModelShape, find_shape
from vllm_mock.settings import Settings

# What a recent vLLM does on the CPU between two steps that the GPU does not hide.
_HOST_SECONDS = 0.3e-3


class Roofline:
    """Weights are read while tokens are multiplied: the longer of both counts, with a smooth passage between them.

    T = ((W / bandwidth)^q + (n c)^q)^(1/q) + K kv + A a + layers l + [prefill] layers p + all-reduces + host,
    with n tokens of input, K tokens of context of the decoding sequences, and A = sum of new (before + new / 2)
    over the chunks of prompts.
    """

    name = "roofline"
    origin: Origin = "analytic"

    def __init__(self, device: Device, shape: ModelShape, tensor_parallel: int = 1, weight_bytes: float = 2.0) -> None:
        parts = device.efficiency
        self._sharpness = parts.sharpness
        weights = shape.weights / tensor_parallel
        self._read = (weights * weight_bytes / (device.bandwidth * parts.weights)) ** parts.sharpness
        self._token = 2 * weights / (device.flops_for(weight_bytes) * parts.gemm)
        self._context = 2 * shape.kv_values / tensor_parallel / (device.bandwidth * parts.kv_cache)
        per_pair = 4 * shape.layers * shape.heads * shape.head_dim / tensor_parallel
        self._pair = per_pair / (device.flops[2] * parts.attention)
        self._step = shape.layers * parts.layer + _HOST_SECONDS
        self._prefill = shape.layers * parts.prefill_layer
        if tensor_parallel > 1:
            self._step += 2 * shape.layers * parts.all_reduce
            self._all_reduce = 2 * shape.layers * parts.all_reduce_token * shape.hidden / 4096
        else:
            self._all_reduce = 0.0

    def seconds(self, batch: Batch) -> float:
        """The time of a step; its cost grows with the chunks of prompts alone."""
        tokens, pairs = batch.decode_requests, 0.0
        for new, before in batch.prefills:
            tokens += new
            pairs += new * (before + new / 2)
        if not tokens:
            return 0.0
        sharpness = self._sharpness
        seconds = (self._read + (tokens * self._token) ** sharpness) ** (1 / sharpness)
        seconds += batch.decode_context_tokens * self._context + pairs * self._pair
        seconds += self._step + tokens * self._all_reduce
        return seconds + self._prefill if batch.prefills else seconds


def roofline(settings: Settings) -> Roofline:
    """The roofline of SIMULATION's device and --model; SettingsError where one of them is unknown."""
    return Roofline(find_device(settings.simulation), find_shape(settings), settings.tensor_parallel_size)
