"""Terms: what each part of a step costs, from the dimensions of model and device."""

from dataclasses import dataclass

from vllm_mock.engine.step_time.device import Device, share
from vllm_mock.engine.step_time.model import SimulatedModel


@dataclass(slots=True)
class Terms:
    """Seconds of all layers together.

    read, token: reading the weights of attention and plain MLPs; multiplying one token with them.
    head_read, head: the same for the output head and one sequence. sharpness: see Efficiency.
    expert_read, expert_token: reading all experts; multiplying a token with those it uses. experts: what touching all
    of them costs besides. untouched: the share of the experts that a token leaves alone.
    context, pair: reading one token of KV cache; attention of a token of a prompt to one before it. window,
    window_context, window_pair: the same in layers with sliding windows of `window` tokens.
    passes, all_reduce_token: one token's passes through memory, and its share of the all-reduces.
    layers, all_reduces, prefill: what every step costs, and one with a prompt besides; sequence: per decoding one.
    """

    read: float
    token: float
    head_read: float
    head: float
    sharpness: float
    context: float
    pair: float
    passes: float
    layers: float
    prefill: float
    sequence: float
    expert_read: float = 0.0
    expert_token: float = 0.0
    experts: float = 0.0
    expert_spread: float = 1.0
    expert_sharpness: float = 1.0
    untouched: float = 0.0
    window: int = 0
    window_context: float = 0.0
    window_pair: float = 0.0
    all_reduces: float = 0.0
    all_reduce_token: float = 0.0


def terms(device: Device, model: SimulatedModel, gpus: int, stages: int, *, expert_parallel: bool = False) -> Terms:
    """The terms of a model on `gpus` tensor-parallel GPUs in each of the pipeline's stages.

    expert_parallel: each GPU has a part of the experts as a whole instead of a part of each.
    """
    shape, parts, quantization = model.shape, device.efficiency, model.quantization
    plain = (shape.attention_weights + shape.mlp_weights) / gpus
    head = shape.head_weights / gpus
    compute = 2.0 if quantization.experts_only else quantization.compute
    hidden = 2 * shape.hidden
    context, pair = _attention(device, model, gpus)
    found = Terms(
        read=plain * model.plain_bytes / device.read(model.plain_bytes),
        token=2 * plain / device.multiply(compute),
        head_read=2 * head / device.read(2),
        head=2 * head / device.multiply(2),
        sharpness=share(parts.sharpness, model.plain_bytes),
        context=(shape.layers - shape.window_layers) * context,
        pair=(shape.layers - shape.window_layers) * pair,
        window=shape.window,
        window_context=shape.window_layers * context,
        window_pair=shape.window_layers * pair,
        passes=hidden * parts.traffic * shape.layers / device.bandwidth,
        layers=shape.layers * parts.layer,
        prefill=shape.layers * parts.prefill_layer,
        sequence=shape.layers * parts.sequence,
    )
    _add_experts(found, device, model, gpus)
    if expert_parallel:
        found.experts /= gpus
    if gpus > 1:
        found.all_reduces = 2 * shape.layers * parts.all_reduce
        moved = 2 * (gpus - 1) / gpus * hidden
        found.all_reduce_token = 2 * shape.layers * moved / (device.link * parts.link)
    if stages > 1:
        found.layers += (stages - 1) * parts.all_reduce
        found.passes += (stages - 1) * hidden / (device.link * parts.link)
    return found


def _attention(device: Device, model: SimulatedModel, gpus: int) -> tuple[float, float]:
    """Seconds per layer: reading a token of KV cache, and the attention of one token to another."""
    shape = model.shape
    read = shape.kv_values(gpus) * model.kv_bytes / device.read_kv_cache(model.kv_bytes)
    widths = 2 * shape.head_dim if shape.latent is None else 2 * shape.latent.rank + shape.latent.rope
    return read, 2 * widths * shape.heads / gpus / (device.flops[2] * device.efficiency.attention)


def _add_experts(found: Terms, device: Device, model: SimulatedModel, gpus: int) -> None:
    shape, parts, size = model.shape, device.efficiency, model.quantization.weight
    if (experts := shape.experts) is None:
        return
    layers, weights = shape.layers - shape.dense_layers, shape.expert_weights / gpus
    found.expert_read = weights * experts.count * size / device.read(size, experts=True)
    found.expert_token = 2 * weights * experts.active / device.multiply_experts(model.quantization.compute, size)
    found.expert_spread = share(parts.expert_spread, size)
    found.expert_sharpness = parts.expert_sharpness
    found.experts = layers * experts.count * parts.expert
    found.untouched = 1 - experts.active / experts.count
    found.layers += layers * parts.expert_layer
    found.passes += 2 * shape.hidden * parts.expert_traffic * experts.active * layers / device.bandwidth
