"""How many bytes a weight has, and at which width it is multiplied."""

from dataclasses import dataclass
from typing import Any

from vllm_mock.settings import SettingsError


@dataclass(frozen=True, slots=True)
class Quantization:
    """weight: bytes in memory of a parameter, scales included. compute: bytes of the values that are multiplied.

    experts_only: attention and plain MLPs keep 16 bits.
    """

    weight: float
    compute: float
    experts_only: bool = False


PLAIN = Quantization(2, 2)
_FP8 = Quantization(1, 1)
_INT8 = Quantization(1, 1)
# Groups of 128 weights share a scale of 16 bits and a zero of 4; they are multiplied as 16 bits.
_INT4 = Quantization(0.5 + 2.5 / 128, 2)
# Blocks of 16 share a scale of 8 bits (nvfp4), of 32 for mxfp4.
NVFP4 = Quantization(0.5 + 1 / 16, 0.5)
_MXFP4 = Quantization(0.5 + 1 / 32, 1, experts_only=True)

# The methods of vLLM's --quantization and of quant_method in a config.json, by the beginning of their names.
_METHODS = {
    "fp8": _FP8,
    "fbgemm_fp8": _FP8,
    "ptpc_fp8": _FP8,
    "modelopt_fp4": NVFP4,
    "nvfp4": NVFP4,
    "modelopt": _FP8,
    "mxfp4": _MXFP4,
    "mxfp8": _FP8,
    "awq": _INT4,
    "gptq": _INT4,
    "bitsandbytes": _INT4,
    "int8": _INT8,
    "experts_int8": Quantization(1, 2, experts_only=True),
    "compressed-tensors": _FP8,
    "gguf": _INT4,
    "torchao": _INT8,
}
# What the names of quantised checkpoints end with.
_ENDINGS = {
    "-fp8": _FP8,
    "-fp8-dynamic": _FP8,
    "-nvfp4": NVFP4,
    "-fp4": NVFP4,
    "-awq": _INT4,
    "-gptq": _INT4,
    "-int4": _INT4,
    "-gptq-int4": _INT4,
    "-quantized.w4a16": _INT4,
    "-w4a16": _INT4,
    "-int8": _INT8,
    "-gptq-int8": Quantization(1, 2),
    "-quantized.w8a8": _INT8,
    "-w8a8": _INT8,
}


def by_method(method: str) -> Quantization:
    """The quantisation of --quantization METHOD."""
    # fp8, and gptq_marlin, awq_marlin, ...
    beginnings = [name for name in _METHODS if method.lower().startswith(name)]
    if not beginnings:
        raise SettingsError(
            f"--quantization {method}: its size is unknown to the simulation; known are {', '.join(_METHODS)}"
        )
    return _METHODS[max(beginnings, key=len)]


def by_name(model: str) -> Quantization | None:
    """The quantisation that a checkpoint's name ends with."""
    return _ENDINGS.get(_ending(model.lower()))


def without_ending(model: str) -> str:
    """`model` in lower case without the ending that names its quantisation."""
    name = model.lower()
    return name.removesuffix(_ending(name))


def _ending(name: str) -> str:
    """The longest of the known endings that a name in lower case has; empty for none."""
    return max(filter(name.endswith, _ENDINGS), key=len, default="")


def by_config(config: dict[str, Any]) -> Quantization | None:
    """The quantisation of the quantization_config in a model's config.json."""
    found = config.get("quantization_config")
    if not isinstance(found, dict):
        return None
    method = str(found.get("quant_method", found.get("quant_algo", "")))
    bits, activations = found.get("bits"), None
    for group in (found.get("config_groups") or {}).values():
        bits = bits or (group.get("weights") or {}).get("num_bits")
        activations = (group.get("input_activations") or {}).get("num_bits")
    if bits is None:
        return by_method(method) if method else None
    weight = {4: _INT4.weight, 8: 1.0}.get(bits, bits / 8)
    compute = 2.0 if method in ("gptq", "awq", "bitsandbytes") or activations is None else activations / 8
    ignored = " ".join(map(str, found.get("ignore") or ()))
    return Quantization(weight, compute, bool(found.get("experts_only")) or "self_attn" in ignored)
