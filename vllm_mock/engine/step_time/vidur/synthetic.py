"""A set of profiles in vidur's format that the roofline fills, for devices and models that nobody has measured."""

import csv
import json
import lzma
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vllm_mock.engine.step_time.roofline import longer
from vllm_mock.engine.step_time.shape import ModelShape
from vllm_mock.engine.step_time.terms import Terms
from vllm_mock.engine.step_time.vidur.table import steps_up_to

# How far the profiles reach: tokens of a step, decoding sequences, tokens of context.
MOST_TOKENS = 8192
MOST_REQUESTS = 256
MOST_CONTEXT = 8192

_MATRICES = ("attn_pre_proj", "attn_post_proj", "mlp_up_proj", "mlp_down_proj")
# What a layer costs anyway and what passes memory, spread over the small operations.
_SMALL = {"input_layernorm": 0.25, "post_attention_layernorm": 0.25, "attn_rope": 0.15, "mlp_act": 0.25, "add": 0.1}


def write_profiles(folder: Path, terms: Terms, shape: ModelShape, gpus: int) -> None:
    """Write compute/ and network/ below `folder`. The output head and the CPU are no part of such profiles."""
    compute, network = folder / "compute", folder / "network"
    for part in (compute, network):
        part.mkdir(parents=True, exist_ok=True)
    dimensions = {"n_embd": shape.hidden, "n_kv_head": shape.kv_heads, "num_tensor_parallel_workers": gpus}
    mlp = dimensions | {
        "n_head": shape.heads,
        "n_expanded_embd": shape.intermediate,
        "vocab_size": shape.vocab,
        "use_gated_mlp": shape.matrices == 3,
    }
    _write(compute / "mlp.csv.xz", (mlp | row for row in _layer_rows(terms, shape)))
    attention = dimensions | {"n_q_head": shape.heads, "block_size": 16}
    _write(compute / "attention.csv.xz", (attention | row for row in _attention_rows(terms, shape)))
    _write(network / "all_reduce.csv.xz", _network_rows("all_reduce", terms, shape, gpus))
    _write(network / "send_recv.csv.xz", _network_rows("send_recv", terms, shape, 2))
    (compute / "config.json").write_text(json.dumps({"model": shape.name, "device_sku": "synthetic"}))
    (network / "config.json").write_text(json.dumps({"sku": "synthetic"}))


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    rows = list(rows)
    with lzma.open(path, "wt", newline="", preset=1) as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _median(operation: str, seconds: float) -> dict[str, float]:
    return {f"time_stats.{operation}.median": seconds * 1000}


def _layer_rows(terms: Terms, shape: ModelShape) -> Iterable[dict[str, Any]]:
    """Times of one layer's operations by the tokens of the step; weights share what reading and multiplying takes."""
    attention = 2 * shape.head_dim * (shape.heads + shape.kv_heads)
    mlp = shape.matrices * shape.intermediate
    output = shape.head_dim * shape.heads
    widths = (attention - output, output, (shape.matrices - 1) * shape.intermediate, shape.intermediate)
    for tokens in steps_up_to(MOST_TOKENS, 1.05):
        weights = longer(terms.read, tokens * terms.token, terms.sharpness) / shape.layers
        small = (terms.layers + tokens * terms.passes) / shape.layers
        row: dict[str, Any] = {"num_tokens": tokens}
        for operation, width in zip(_MATRICES, widths, strict=True):
            row |= _median(operation, weights * width / (attention + mlp))
        for operation, part in _SMALL.items():
            row |= _median(operation, small * part)
        yield row


def _attention_rows(terms: Terms, shape: ModelShape) -> Iterable[dict[str, Any]]:
    contexts = [0, *range(256, 4096, 256), *range(4096, MOST_CONTEXT + 1, 1024)]
    nothing = _median("attn_kv_cache_save", 0.0)
    for requests in steps_up_to(MOST_REQUESTS, 1.1):
        for context in contexts:
            read = context * terms.context + min(context, terms.window) * terms.window_context
            seconds = requests * (read + terms.sequence) / shape.layers
            row = {"batch_size": requests, "prefill_chunk_size": 0, "kv_cache_size": context, "is_prefill": False}
            yield row | _median("attn_decode", seconds) | {"time_stats.attn_prefill.median": ""} | nothing
    for tokens in steps_up_to(MOST_TOKENS, 1.15):
        for before in contexts:
            pairs = tokens * (before + tokens / 2) * terms.pair
            pairs += tokens * min(before + tokens / 2, terms.window) * terms.window_pair
            seconds = (pairs + terms.prefill) / shape.layers
            row = {"batch_size": 1, "prefill_chunk_size": tokens, "kv_cache_size": before, "is_prefill": True}
            yield row | {"time_stats.attn_decode.median": ""} | _median("attn_prefill", seconds) | nothing


def _network_rows(collective: str, terms: Terms, shape: ModelShape, workers: int) -> Iterable[dict[str, Any]]:
    """One all-reduce, of two per layer; to hand something over is part of what passes memory."""
    for tokens in steps_up_to(MOST_TOKENS, 1.1):
        seconds = (terms.all_reduces + tokens * terms.all_reduce_token) / shape.layers / 2
        yield {
            "num_workers": workers,
            "devices_per_node": workers,
            "collective": collective,
            "size": 2 * tokens * shape.hidden,
        } | _median(collective, seconds if collective == "all_reduce" else 0.0)
