"""Roofline: the time of a step from the dimensions of model and device."""

from collections.abc import Sequence
from typing import NamedTuple

from vllm_mock.engine.step_time.base import Origin
from vllm_mock.engine.step_time.batch import Batch
from vllm_mock.engine.step_time.device import Device, find_device, share
from vllm_mock.engine.step_time.model import SimulatedModel, simulated_model
from vllm_mock.settings import Settings


class Host(NamedTuple):
    """Seconds that the CPU adds and the GPU does not hide: per step, per sequence in it, per step with a prompt."""

    step: float
    sequence: float
    prefill: float


# Fitted to servers (docs/fidelity.md): as since vLLM 0.14, where the next step is scheduled while one runs, and before.
HOST = Host(step=0.4e-3, sequence=16e-6, prefill=2.8e-3)
HOST_IN_TURN = Host(step=1.0e-3, sequence=61e-6, prefill=2.8e-3)


class Roofline:
    """Weights are read while tokens are multiplied: the longer of both counts, with a smooth passage between them.

    With n tokens of input, s sequences, K tokens of context of the decoding ones among them, D, and A = sum of
    new (before + new / 2) over the chunks of prompts, a step takes
      max(read the weights, multiply n, and s by the output head)
      + max(read the experts that n tokens touch, multiply n)
      + read K + attend A + pass n through memory and all-reduces
      + layers, constant and by D, with a prompt more + host, constant and by s.
    How near each part comes to the data sheet is said by `Efficiency`. A batch passes all pipeline stages, one after
    the other.
    """

    name = "roofline"
    origin: Origin = "analytic"

    def __init__(
        self, device: Device, model: SimulatedModel, tensor_parallel: int = 1, stages: int = 1, host: Host = HOST
    ) -> None:
        self._host_sequence = host.sequence
        parts = device.efficiency
        layers = model.shape.layers
        self._step = layers * parts.layer + host.step
        self._weights(device, model, tensor_parallel)
        self._experts(device, model, tensor_parallel)
        self._attention(device, model, tensor_parallel)
        self._prefill = layers * parts.prefill_layer + host.prefill
        self._sequence = layers * parts.sequence
        self._communication(device, model, tensor_parallel, stages)

    def seconds(self, batch: Batch) -> float:
        """The time of a step; its cost grows with the chunks of prompts alone."""
        decodes, prefills = batch.decode_requests, batch.prefills
        tokens, pairs = decodes, 0.0
        for new, before in prefills:
            tokens += new
            pairs += new * (before + new / 2)
        if not tokens:
            return 0.0
        sequences = decodes + len(prefills)
        multiply = tokens * self._token + sequences * self._head
        seconds = _longer(self._read, multiply, self._sharpness)
        if self._expert_read:
            # Each token touches `active` of the experts, as if drawn anew.
            read = self._expert_read * (1 - self._untouched**tokens) ** self._expert_spread
            seconds += _longer(read, tokens * self._expert_token, self._expert_sharpness)
        grows = decodes * self._sequence + tokens * self._pass
        if prefills:
            seconds += self._prefill
            grows += pairs * self._pair
            if self._window_pair:
                grows += self._windowed(prefills)
        grows += batch.decode_context_tokens * self._context
        if self._window_context:
            grows += min(batch.decode_context_tokens, decodes * self._window) * self._window_context
        return seconds + grows + self._step + sequences * self._host_sequence

    def _windowed(self, prefills: Sequence[tuple[int, int]]) -> float:
        """Attention of prompts in layers that see the last `window` tokens alone."""
        window = self._window
        return self._window_pair * sum(new * min(before + new / 2, window) for new, before in prefills)

    def _weights(self, device: Device, model: SimulatedModel, gpus: int) -> None:
        shape = model.shape
        plain = (shape.attention_weights + shape.mlp_weights) / gpus
        head = shape.head_weights / gpus
        self._read = plain * model.plain_bytes / device.read(model.plain_bytes) + 2 * head / device.read(2)
        self._sharpness = share(device.efficiency.sharpness, model.plain_bytes)
        compute = 2.0 if model.quantization.experts_only else model.quantization.compute
        self._token = 2 * plain / device.multiply(compute)
        self._head = 2 * head / device.multiply(2)

    def _experts(self, device: Device, model: SimulatedModel, gpus: int) -> None:
        shape = model.shape
        self._expert_read = self._expert_token = 0.0
        if (experts := shape.experts) is None:
            return
        size, weights = model.quantization.weight, shape.expert_weights / gpus
        self._expert_read = weights * experts.count * size / device.read(size, experts=True)
        self._expert_spread = share(device.efficiency.expert_spread, size)
        self._expert_sharpness = share(device.efficiency.sharpness, size)
        self._untouched = 1 - experts.active / experts.count
        compute = device.multiply(model.quantization.compute, experts=True)
        self._expert_token = 2 * weights * experts.active / compute
        self._step += (shape.layers - shape.dense_layers) * device.efficiency.expert_layer

    def _attention(self, device: Device, model: SimulatedModel, gpus: int) -> None:
        parts, shape = device.efficiency, model.shape
        everywhere, windowed = shape.layers - shape.window_layers, shape.window_layers
        context = shape.kv_values(gpus) * model.kv_bytes / device.read_kv_cache(model.kv_bytes)
        widths = 2 * shape.head_dim if shape.latent is None else 2 * shape.latent.rank + shape.latent.rope
        pair = 2 * widths * shape.heads / gpus / (device.flops[2] * parts.attention)
        self._context, self._pair = everywhere * context, everywhere * pair
        self._window = shape.window
        self._window_context, self._window_pair = windowed * context, windowed * pair

    def _communication(self, device: Device, model: SimulatedModel, gpus: int, stages: int) -> None:
        """Two all-reduces of the hidden states per layer, and what pipeline stages hand over."""
        parts, shape = device.efficiency, model.shape
        hidden = 2 * shape.hidden
        passes = parts.traffic * shape.layers
        if shape.experts is not None:
            passes += parts.expert_traffic * shape.experts.active * (shape.layers - shape.dense_layers)
        self._pass = hidden * passes / device.bandwidth
        if gpus > 1:
            self._step += 2 * shape.layers * parts.all_reduce
            moved = 2 * (gpus - 1) / gpus * hidden
            self._pass += 2 * shape.layers * moved / (device.link * parts.link)
        if stages > 1:
            self._step += (stages - 1) * parts.all_reduce
            self._pass += (stages - 1) * hidden / (device.link * parts.link)


def _longer(one: float, other: float, sharpness: float) -> float:
    """The smooth maximum of two times, at least as long as the longer one, at most their sum."""
    return (one**sharpness + other**sharpness) ** (1 / sharpness)


def roofline(settings: Settings) -> Roofline:
    """The roofline of SIMULATION's device and --model; SettingsError where one of them is unknown."""
    return Roofline(
        find_device(settings.simulation),
        simulated_model(settings),
        settings.tensor_parallel_size,
        settings.pipeline_parallel_size,
        HOST if settings.async_scheduling else HOST_IN_TURN,
    )
