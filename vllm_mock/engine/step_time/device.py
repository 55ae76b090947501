"""Device: what a GPU can do, from data/devices.json."""

from dataclasses import dataclass

from vllm_mock.engine.step_time.tables import table
from vllm_mock.settings import SettingsError


@dataclass(frozen=True, slots=True)
class Efficiency:
    """How near a device comes to its data sheet.

    weights, kv_cache, gemm, attention: shares of the peak that reading weights, reading KV caches, multiplying
    matrices and the attention of prompts reach. sharpness: exponent of the smooth maximum of reading weights and
    multiplying; large: they overlap perfectly, 1: they add up.
    layer, prefill_layer: seconds per layer of a step, and besides of one with a prompt in it.
    all_reduce: seconds of one; all_reduce_token: seconds per token of 4096 values.
    """

    weights: float
    kv_cache: float
    gemm: float
    attention: float
    sharpness: float
    layer: float
    prefill_layer: float
    all_reduce: float
    all_reduce_token: float


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU. memory: bytes. bandwidth: bytes per second of its memory. flops: dense, per second, by bytes of a value.

    host: seconds per step that the CPU adds.
    """

    name: str
    memory: float
    bandwidth: float
    flops: dict[float, float]
    efficiency: Efficiency

    def flops_for(self, weight_bytes: float) -> float:
        """Operations per second on values of `weight_bytes`; 16-bit speed where the device has no unit for fewer."""
        return self.flops.get(weight_bytes, self.flops[2])


def device_names() -> list[str]:
    """Every name that SIMULATION takes."""
    return list(table("devices"))


def find_device(name: str) -> Device:
    """The device of this name, in any case and with dashes for underscores; SettingsError names those there are."""
    key = name.lower().replace("_", "-").removeprefix("nvidia-")
    found = table("devices").get(key)
    while found and "same_as" in found:
        found = table("devices")[found["same_as"]]
    if found is None:
        raise SettingsError(f"SIMULATION={name}: no such device; known are {', '.join(device_names())}")
    return Device(
        name=key,
        memory=found["memory_gib"] * 2**30,
        bandwidth=found["bandwidth_gb_s"] * 1e9,
        flops={float(size): tera * 1e12 for size, tera in found["tflops"].items()},
        efficiency=_efficiency(found["efficiency"]),
    )


def _efficiency(values: dict[str, float]) -> Efficiency:
    return Efficiency(
        weights=values["weights"],
        kv_cache=values["kv_cache"],
        gemm=values["gemm"],
        attention=values["attention"],
        sharpness=values["sharpness"],
        layer=values["layer_us"] * 1e-6,
        prefill_layer=values["prefill_layer_us"] * 1e-6,
        all_reduce=values["all_reduce_us"] * 1e-6,
        all_reduce_token=values["all_reduce_token_ns"] * 1e-9,
    )
