"""Step times of NVIDIA's aiconfigurator-core: kernels of vLLM that were measured on the device."""

import json
import logging
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vllm_mock.engine.step_time.base import Origin
from vllm_mock.engine.step_time.batch import Batch
from vllm_mock.engine.step_time.device import find_device
from vllm_mock.engine.step_time.model import SimulatedModel, find_model, simulated_model
from vllm_mock.engine.step_time.quantization import PLAIN, Quantization, by_config
from vllm_mock.engine.step_time.roofline import Host, host_of
from vllm_mock.engine.step_time.shape import ModelShape
from vllm_mock.settings import Settings, SettingsError

INSTALL = "pip install -r requirements-aiconfigurator.txt"

# Devices with measured kernels, as the package names them.
_SYSTEMS = {
    "a100": "a100_sxm",
    "h100": "h100_sxm",
    "h200": "h200_sxm",
    "b200": "b200_sxm",
    "b300": "b300_sxm",
    "l40s": "l40s",
}


class AIConfigurator:
    """The sum of the kernels' times, to which the host's time is added as in the roofline.

    It takes sums over the batch alone, so that chunks of prompts count as if they were equally long.
    """

    name = "aiconfigurator"
    origin: Origin = "measured"

    def __init__(self, model: Any, host: Host) -> None:
        """model: the package's RustForwardPassPerfModel."""
        self._milliseconds = model.estimate_forward_pass_time_ms
        self._host = host

    def seconds(self, batch: Batch) -> float:
        """The time of a step: 7 to 40 us to find, up to 1.5 ms beyond the measured range."""
        decodes, prefills = batch.decode_requests, batch.prefills
        if not decodes and not prefills:
            return 0.0
        requests = {
            "num_decode_requests": decodes,
            "sum_decode_kv_tokens": batch.decode_context_tokens,
            "num_prefill_requests": len(prefills),
            "sum_prefill_tokens": sum(new for new, _ in prefills),
            "sum_prefill_kv_tokens": sum(before for _, before in prefills),
        }
        kernels = self._milliseconds({"scheduled_requests": requests}) / 1000
        host = self._host.step + self._host.sequence * (decodes + len(prefills))
        return kernels + host + (self._host.prefill if prefills else 0.0)


def aiconfigurator(settings: Settings) -> AIConfigurator:
    """Kernel times of SIMULATION's device and --model; SettingsError, one line, where there are none.

    The package is given the model as a folder, never by a name that it might look up on the network.
    """
    try:
        import aiconfigurator_core
        from aiconfigurator_core.sdk import RustForwardPassPerfModel
    except ImportError:
        raise SettingsError(f"--step-time aiconfigurator: aiconfigurator-core is not installed: {INSTALL}") from None
    logging.getLogger("aiconfigurator_core").setLevel(logging.ERROR)
    device, model = find_device(settings.simulation), simulated_model(settings)
    if device.name not in _SYSTEMS:
        raise SettingsError(
            f"--step-time aiconfigurator: it has no kernels of {device.name}; it has those of {', '.join(_SYSTEMS)}"
        )
    shipped = Path(aiconfigurator_core.__file__).with_name("model_configs")
    with TemporaryDirectory() as folder:
        question = _question(settings, _SYSTEMS[device.name], model, shipped, Path(folder))
        try:
            found = RustForwardPassPerfModel.from_native(question)
            source = AIConfigurator(found, host_of(settings))
            source.seconds(Batch(1, 1, [(1, 0)]))
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise SettingsError(
                f"--step-time aiconfigurator: it has no kernels of {settings.model} on {device.name}: {reason}"
            ) from None
    return source


def _question(
    settings: Settings, system: str, model: SimulatedModel, shipped: Path, folder: Path
) -> dict[str, str | int | None]:
    asked = settings.simulated_model or settings.model
    name, config = find_model(asked)
    weights: str | None = _weights(model.quantization)
    if _copied(asked.rstrip("/"), shipped, folder):
        # Its configuration says how it is quantised.
        weights = weights if settings.quantization else None
    elif _copied(name, shipped, folder):
        weights = None if model.quantization == (by_config(config) or PLAIN) else weights
    elif model.shape.experts is None and model.shape.latent is None:
        _write(model.shape, folder)
    else:
        raise SettingsError(f"--step-time aiconfigurator: it does not know the mixture of experts {settings.model}")
    tensor = settings.tensor_parallel_size
    return {
        "schema_version": 1,
        "model_name": str(folder),
        "system_name": system,
        "backend": "vllm",
        "backend_version": None,
        "tp_size": tensor,
        "pp_size": settings.pipeline_parallel_size,
        "kv_block_size": None,
        "weight_dtype": weights,
        "activation_dtype": None,
        "kv_cache_dtype": "fp8" if model.kv_bytes == 1 else None,
        **({"moe_tp_size": tensor, "moe_ep_size": 1} if model.shape.experts else {}),
    }


def _copied(name: str, shipped: Path, folder: Path) -> bool:
    """Copies the configuration of a model that the package ships; False if it has none of this name."""
    found = False
    for ending in ("config.json", "hf_quant_config.json"):
        path = shipped / f"{name.replace('/', '--')}_{ending}"
        if "/" in name and path.is_file():
            shutil.copyfile(path, folder / ending)
            found = True
    return found


def _weights(quantization: Quantization) -> str | None:
    """As the package names it; None for 16 bits."""
    if quantization.weight >= 2:
        return None
    if quantization.weight >= 1:
        return "fp8" if quantization.compute <= 1 else "int8"
    return "nvfp4" if quantization.compute < 1 else "int4"


def _write(shape: ModelShape, folder: Path) -> None:
    """A config.json of these dimensions; every dense model is a Llama to the package."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        # Without a gate an MLP has two matrices in place of three.
        "intermediate_size": shape.intermediate * shape.matrices // 3,
        "vocab_size": shape.vocab,
        "max_position_embeddings": 1 << 17,
        "tie_word_embeddings": shape.tied_embeddings,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
