"""SimulatedModel: shape, quantisation and KV cache of what --model names."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vllm_mock.engine.step_time.quantization import (
    NVFP4,
    PLAIN,
    Quantization,
    by_config,
    by_method,
    by_name,
    without_ending,
)
from vllm_mock.engine.step_time.shape import ModelShape, shape_of
from vllm_mock.engine.step_time.tables import table
from vllm_mock.settings import Settings, SettingsError

# Endings of names of checkpoints that leave the dimensions as they are.
_VARIANTS = ("-instruct", "-chat", "-it", "-hf", "-base", "-pt", "-dynamic", "-thinking", "-2507", "-bf16", "-mxfp4")
_VERSIONS = ("-v0.1", "-v0.2", "-v0.3", "-2501", "-2407", "-2503", "-2506", "-1m")


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """What is run. kv_bytes: bytes of one value in the KV cache."""

    shape: ModelShape
    quantization: Quantization
    kv_bytes: float

    @property
    def plain_bytes(self) -> float:
        """Bytes of a weight of attention and plain MLPs."""
        return 2.0 if self.quantization.experts_only else self.quantization.weight

    @property
    def weight_bytes(self) -> float:
        """Bytes of all weights; the tables of embeddings keep 16 bits."""
        shape = self.shape
        experts = shape.expert_weights * shape.experts.count if shape.experts else 0
        plain = shape.attention_weights + shape.mlp_weights
        tables = shape.parameters - plain - experts
        return plain * self.plain_bytes + experts * self.quantization.weight + 2 * tables


def simulated_model(settings: Settings) -> SimulatedModel:
    """The model of the settings; SettingsError, one line, where its dimensions are not known."""
    name = settings.simulated_model or settings.model
    found, config = find_model(name)
    try:
        shape = shape_of(found, config)
    except KeyError as missing:
        raise SettingsError(f"--model {name}: its config.json has no {missing.args[0]}") from None
    except (TypeError, ValueError, AttributeError):
        raise SettingsError(f"--model {name}: its config.json has impossible dimensions") from None
    quantization = _quantization(settings.quantization, name, config)
    if quantization == NVFP4 and shape.experts is not None:
        # NVIDIA's checkpoints of mixtures keep attention in 16 bits (hf_quant_config.json of MiniMax-M2.5, Kimi-K2.6).
        quantization = replace(quantization, experts_only=True)
    return SimulatedModel(shape, quantization, _kv_bytes(settings.kv_cache_dtype, quantization))


def model_id(name: str) -> str:
    """The Hugging Face id of a name such as llama2-7b or Llama-3.1-8B-Instruct-FP8, without its variant."""
    return find_model(name)[0]


def find_model(name: str) -> tuple[str, dict[str, Any]]:
    """The id of a known model and its config.json; of a folder its path and content. SettingsError for others."""
    if Path(name).is_dir():
        return name, _config(name)
    models, names = table("models"), _names()
    for key in _simpler(name):
        if key in names:
            return names[key], models[names[key]]
    raise SettingsError(
        f"--model {name}: its dimensions are unknown; give a folder with its config.json "
        "(vllm_mock/data/models.json lists the known models)"
    )


def _simpler(name: str) -> list[str]:
    """`name` without organisation, then without the endings of variants, one by one."""
    key = name.rstrip("/").rpartition("/")[2].lower()
    keys = [key, key := without_ending(key)]
    endings = _VARIANTS + _VERSIONS
    while ending := next((ending for ending in endings if key.endswith(ending)), None):
        keys.append(key := key.removesuffix(ending))
    return keys


def _names() -> dict[str, str]:
    """Each known name without organisation, in lower case, with the id of its entry; exact names win."""
    names: dict[str, str] = {}
    for model, entry in table("models").items():
        for alias in (model.rpartition("/")[2], *entry.get("aliases", ())):
            names[alias.lower()] = model
    for model in table("models"):
        for key in _simpler(model):
            names.setdefault(key, model)
    return names


def _config(folder: str) -> dict[str, Any]:
    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"--model {folder}: {path.name}: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"--model {folder}: {path.name} is not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise SettingsError(f"--model {folder}: {path.name} is no JSON object")
    return config


def _quantization(method: str | None, name: str, config: dict[str, Any]) -> Quantization:
    if method:
        return by_method(method)
    return by_name(name.rstrip("/")) or by_config(config) or PLAIN


def _kv_bytes(dtype: str, quantization: Quantization) -> float:
    """Bytes of a value; checkpoints in nvfp4 ask for a KV cache in fp8, which vLLM grants by default."""
    if dtype.startswith(("fp8", "int8")) or (dtype == "auto" and quantization.weight == NVFP4.weight):
        return 1.0
    return {"float32": 4.0, "nvfp4": 0.5 + 1 / 16}.get(dtype, 2.0)
