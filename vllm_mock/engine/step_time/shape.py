"""ModelShape: the dimensions of a model, which say what a step reads and multiplies."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Latent:
    """Multi-head latent attention: sizes of its projections, in values; the KV cache holds rank + rope per token."""

    rank: int
    query_rank: int
    rope: int
    nope: int
    value: int


@dataclass(frozen=True, slots=True)
class Experts:
    """The mixture-of-experts part: `count` experts of which a token uses `active`, `shared` that all use.

    intermediate: width of one expert. dense_layers: the first layers, which have a plain MLP instead.
    """

    count: int
    active: int
    intermediate: int
    shared: float = 0
    dense_layers: int = 0


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Dimensions of a decoder-only transformer, named after the keys of its config.json.

    matrices: in its MLP: 3 with a gate, 2 without. window: tokens of sliding-window attention in `window_layers`
    of the layers, 0 for none.
    """

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    tied_embeddings: bool = False
    matrices: int = 3
    window: int = 0
    window_layers: int = 0
    experts: Experts | None = None
    latent: Latent | None = None

    @property
    def dense_layers(self) -> int:
        """Layers with a plain MLP."""
        return self.layers if self.experts is None else self.experts.dense_layers

    @property
    def attention_weights(self) -> int:
        """Parameters of all layers' attention."""
        if (latent := self.latent) is None:
            return self.layers * self.hidden * self.head_dim * 2 * (self.heads + self.kv_heads)
        query_key = latent.nope + latent.rope
        queries = (
            latent.query_rank * (self.hidden + self.heads * query_key)
            if latent.query_rank
            else self.hidden * self.heads * query_key
        )
        keys = self.hidden * (latent.rank + latent.rope) + latent.rank * self.heads * (latent.nope + latent.value)
        return self.layers * (queries + keys + self.heads * latent.value * self.hidden)

    @property
    def mlp_weights(self) -> int:
        """Parameters of plain MLPs and of the experts that every token uses."""
        widths = self.dense_layers * self.intermediate
        if (experts := self.experts) is not None:
            widths += int((self.layers - self.dense_layers) * experts.shared * experts.intermediate)
        return self.matrices * self.hidden * widths

    @property
    def expert_weights(self) -> int:
        """Parameters of one expert, in all layers together."""
        if self.experts is None:
            return 0
        return (self.layers - self.dense_layers) * self.matrices * self.hidden * self.experts.intermediate

    @property
    def head_weights(self) -> int:
        """Parameters of the output head, and of the table of input embeddings."""
        return self.hidden * self.vocab

    @property
    def parameters(self) -> int:
        """All parameters, without biases and norms."""
        experts = self.expert_weights * self.experts.count if self.experts else 0
        tables = self.head_weights * (1 if self.tied_embeddings else 2)
        return self.attention_weights + self.mlp_weights + experts + tables

    def kv_values(self, tensor_parallel: int) -> int:
        """Values per token and layer in the KV cache of one GPU; heads that cannot be divided are repeated."""
        if self.latent is not None:
            return self.latent.rank + self.latent.rope
        return 2 * self.head_dim * -(-self.kv_heads // tensor_parallel)


# Families whose MLP has no gate.
_UNGATED = {"phi", "opt", "gpt2", "gpt_neox", "gptj", "falcon", "bloom", "starcoder2", "mpt"}


def shape_of(name: str, config: dict[str, Any]) -> ModelShape:
    """The shape that a config.json describes; KeyError names a key it lacks, TypeError or ValueError is nonsense."""
    config = {**config, **config.get("text_config", {})}
    heads = _positive(config["num_attention_heads"])
    window, window_layers = _window(config)
    return ModelShape(
        name=name,
        layers=_positive(config["num_hidden_layers"]),
        hidden=_positive(config["hidden_size"]),
        heads=heads,
        kv_heads=_positive(config.get("num_key_value_heads") or heads),
        head_dim=_positive(config.get("head_dim") or config["hidden_size"] // heads),
        intermediate=_positive(config["intermediate_size"]),
        vocab=_positive(config["vocab_size"]),
        tied_embeddings=bool(config.get("tie_word_embeddings", False)),
        matrices=2 if config.get("model_type") in _UNGATED else 3,
        window=window,
        window_layers=window_layers,
        experts=_experts(config),
        latent=_latent(config),
    )


def _positive(value: Any) -> int:
    if int(value) < 1:
        raise ValueError
    return int(value)


def _window(config: dict[str, Any]) -> tuple[int, int]:
    """Size of the sliding window and number of layers that have one."""
    window, layers = config.get("sliding_window"), config["num_hidden_layers"]
    if not window or config.get("use_sliding_window") is False:
        return 0, 0
    if kinds := config.get("layer_types"):
        return window, sum(kind == "sliding_attention" for kind in kinds)
    pattern = config.get("sliding_window_pattern") or {"gemma2": 2, "gemma3_text": 6, "gpt_oss": 2}.get(
        config.get("model_type", ""), 0
    )
    # Of each `pattern` layers the last one sees everything.
    return window, layers - layers // pattern if pattern else layers


def _experts(config: dict[str, Any]) -> Experts | None:
    names = ("num_experts", "num_local_experts", "n_routed_experts")
    count = next((config[name] for name in names if config.get(name)), 0)
    if not count:
        return None
    intermediate = config.get("moe_intermediate_size") or config["intermediate_size"]
    shared = config.get("n_shared_experts") or (config.get("shared_expert_intermediate_size") or 0) / intermediate
    active = config.get("num_experts_per_tok") or config["experts_per_token"]
    dense = config.get("first_k_dense_replace") or len(config.get("mlp_only_layers") or ())
    return Experts(count, active, intermediate, shared, dense)


def _latent(config: dict[str, Any]) -> Latent | None:
    if not config.get("kv_lora_rank"):
        return None
    return Latent(
        rank=config["kv_lora_rank"],
        query_rank=config.get("q_lora_rank") or 0,
        rope=config["qk_rope_head_dim"],
        nope=config["qk_nope_head_dim"],
        value=config["v_head_dim"],
    )
