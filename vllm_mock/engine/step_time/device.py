"""Device: what a GPU can do, from data/devices.json."""

from dataclasses import dataclass
from typing import Any

from vllm_mock.engine.step_time.tables import table
from vllm_mock.settings import SettingsError


@dataclass(frozen=True, slots=True)
class Efficiency:
    """How near a device comes to its data sheet, where it was fitted (docs/fidelity.md).

    Shares of the peak that are reached, by the bytes of a value: weights, kv_cache: in reading them; gemm: in
    multiplying matrices. attention: the share in the attention of prompts. expert_weights, expert_gemm: as weights and
    gemm for the experts of a mixture, both by the bytes of a weight.
    sharpness: exponent of the smooth maximum of reading weights of that size and multiplying; large: they overlap
    perfectly, 1: they add up. expert_sharpness: the same for experts.
    expert_spread: exponent of the share of the experts that a step touches: below 1, few experts are read slowly.
    expert: seconds per expert that a step touches and layer, however small its part is on this GPU.
    layer, expert_layer, prefill_layer: seconds per layer of a step, besides for its experts, and besides in a step
    with a prompt. sequence: seconds per decoding sequence and layer.
    traffic, expert_traffic: how often each hidden value passes memory per layer, and per active expert, besides.
    all_reduce: seconds of one; link: share of the links' bandwidth that it reaches.
    """

    weights: dict[float, float]
    kv_cache: dict[float, float]
    gemm: dict[float, float]
    attention: float
    sharpness: dict[float, float]
    expert_weights: dict[float, float]
    expert_gemm: dict[float, float]
    expert_spread: dict[float, float]
    expert_sharpness: float
    expert: float
    layer: float
    expert_layer: float
    prefill_layer: float
    sequence: float
    traffic: float
    expert_traffic: float
    all_reduce: float
    link: float


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU. memory: bytes that CUDA or ROCm reports. bandwidth, link: bytes per second of its memory, and to
    another GPU in one direction. flops: dense operations per second, by the bytes of a value.
    """

    name: str
    memory: float
    bandwidth: float
    link: float
    flops: dict[float, float]
    efficiency: Efficiency

    def read(self, value_bytes: float, experts: bool = False) -> float:
        """Bytes per second that reading weights of this size reaches."""
        return self.bandwidth * share(
            self.efficiency.expert_weights if experts else self.efficiency.weights, value_bytes
        )

    def read_kv_cache(self, value_bytes: float) -> float:
        """Bytes per second that reading KV caches with values of this size reaches."""
        return self.bandwidth * share(self.efficiency.kv_cache, value_bytes)

    def multiply(self, value_bytes: float) -> float:
        """Operations per second that multiplying matrices reaches, on the narrowest type that holds the values."""
        width = self._width(value_bytes)
        return self.flops[width] * self.efficiency.gemm.get(width, self.efficiency.gemm[2])

    def multiply_experts(self, value_bytes: float, weight_bytes: float) -> float:
        """The same for experts with weights of this size."""
        return self.flops[self._width(value_bytes)] * share(self.efficiency.expert_gemm, weight_bytes)

    def _width(self, value_bytes: float) -> float:
        return min((size for size in self.flops if size >= value_bytes), default=2)


def share(shares: dict[float, float], value_bytes: float) -> float:
    """The one of the largest size that is not above `value_bytes`."""
    return shares[max((size for size in shares if size <= value_bytes), default=min(shares))]


def device_names() -> list[str]:
    """Every name that SIMULATION takes."""
    return list(table("devices"))


def find_device(name: str) -> Device:
    """The device of this name, in any case and with dashes for underscores; SettingsError names those there are."""
    key = name.lower().replace("_", "-").removeprefix("nvidia-")
    found = _entry(key)
    if found is None:
        raise SettingsError(f"SIMULATION={name}: no such device; known are {', '.join(device_names())}")
    return Device(
        name=found["name"],
        memory=found["memory_gib"] * 2**30,
        bandwidth=found["bandwidth_gb_s"] * 1e9,
        link=found["link_gb_s"] * 1e9,
        flops={float(size): tera * 1e12 for size, tera in found["tflops"].items()},
        efficiency=efficiency_of(found["efficiency"]),
    )


def _entry(key: str) -> dict[str, Any] | None:
    """The entry, completed by what it takes from the device that it is like; an alias is nothing else."""
    found = table("devices").get(key)
    if found is None:
        return None
    base = _entry(found["like"]) if "like" in found else None
    if base is not None and len(found) == 1:
        return base
    return {**(base or {}), "name": key, **found}


def efficiency_of(values: dict[str, Any]) -> Efficiency:
    """From an entry's "efficiency" in data/devices.json."""
    return Efficiency(
        weights=_by_size(values["weights"]),
        kv_cache=_by_size(values["kv_cache"]),
        gemm=_by_size(values["gemm"]),
        attention=values["attention"],
        sharpness=_by_size(values["sharpness"]),
        expert_weights=_by_size(values["expert_weights"]),
        expert_gemm=_by_size(values["expert_gemm"]),
        expert_spread=_by_size(values["expert_spread"]),
        expert_sharpness=values["expert_sharpness"],
        expert=values["expert_ns"] * 1e-9,
        layer=values["layer_us"] * 1e-6,
        expert_layer=values["expert_layer_us"] * 1e-6,
        prefill_layer=values["prefill_layer_us"] * 1e-6,
        sequence=values["sequence_ns"] * 1e-9,
        traffic=values["traffic"],
        expert_traffic=values["expert_traffic"],
        all_reduce=values["all_reduce_us"] * 1e-6,
        link=values["link"],
    )


def _by_size(shares: dict[str, float]) -> dict[float, float]:
    return {float(size): share for size, share in shares.items()}
