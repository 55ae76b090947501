"""ModelShape: the dimensions of a model, from data/models.json or a folder's config.json."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vllm_mock.engine.step_time.tables import table
from vllm_mock.settings import Settings, SettingsError

# The names under which AIBrix deploys models.
_ALIASES = {"llama2-7b": "meta-llama/Llama-2-7b-hf", "llama2-70b": "meta-llama/Llama-2-70b-hf"}


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Dimensions of a decoder-only transformer.

    layers, hidden, heads, kv_heads, head_dim, intermediate, vocab: as in the model's config.json.
    """

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int

    @property
    def weights(self) -> int:
        """Parameters that a step reads: all but the table of input embeddings."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.intermediate) + self.hidden * self.vocab

    @property
    def kv_values(self) -> int:
        """Values that the KV cache holds per token."""
        return 2 * self.layers * self.kv_heads * self.head_dim


def find_shape(settings: Settings) -> ModelShape:
    """The shape of --model; SettingsError where neither the table nor a config.json has it."""
    name = settings.model
    if Path(name).is_dir():
        return _read(name, _config(Path(name) / "config.json"))
    key = _ALIASES.get(name.lower(), name)
    found = {known.lower(): known for known in table("models")}.get(key.lower())
    if found is None:
        raise SettingsError(f"--model {name}: its dimensions are unknown; give a folder with its config.json")
    return _read(found, table("models")[found])


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"--model {path.parent}: {path.name}: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"--model {path.parent}: {path.name} is not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise SettingsError(f"--model {path.parent}: {path.name} is no JSON object")
    return config


def _read(name: str, config: dict[str, Any]) -> ModelShape:
    try:
        heads = config["num_attention_heads"]
        return ModelShape(
            name=name,
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or config["hidden_size"] // heads,
            intermediate=config["intermediate_size"],
            vocab=config["vocab_size"],
        )
    except KeyError as missing:
        raise SettingsError(f"--model {name}: config.json has no {missing.args[0]}") from None
