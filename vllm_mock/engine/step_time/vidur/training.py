"""`python -m vllm_mock.engine.step_time.vidur.training SPEC RESULT` trains vidur's predictor in a process of its own.

SPEC is a JSON file of what source.py asks for; RESULT becomes the StepTable. It runs in a folder of its own, because
vidur writes beside itself, and may be ended at any time.
"""

import json
import logging
import sys
import types
from pathlib import Path
from typing import Any

from vllm_mock.engine.step_time.vidur.table import (
    CHUNK_GRANULARITY,
    CONTEXT_GRANULARITY,
    STEP_GRANULARITY,
    StepTable,
)

# 50 trees differ from 250 by 0.4 % (median), and train in seconds.
_FOREST = {"n_estimators": 50, "max_depth": 16, "min_samples_split": 2}
_LAYER_OPERATIONS = (
    *("attn_pre_proj", "attn_post_proj", "attn_rope", "mlp_up_proj", "mlp_down_proj", "mlp_act"),
    *("input_layernorm", "add"),
)
# vidur imports these for its plots and reports, which are not wanted.
_UNWANTED = ("wandb", "plotly_express")


def main(spec_path: str, result_path: str) -> None:
    """Train on the profiles of the specification and store what the predictor says."""
    keep_out()
    spec = json.loads(Path(spec_path).read_text(encoding="utf-8"))
    predictor = train(spec)
    table_of(predictor, spec).write(Path(result_path))


def keep_out() -> None:
    """Before vidur is imported: what it would bring in vain, and its log."""
    for name in _UNWANTED:
        sys.modules[name] = types.ModuleType(name)
    logging.disable(logging.ERROR)


def train(spec: dict[str, Any]) -> Any:
    """vidur's predictor of these profiles; spec["limits"] then says how far it reaches."""
    from sklearn.ensemble import RandomForestRegressor
    from vidur.config import CacheConfig, RandomForrestExecutionTimePredictorConfig, ReplicaConfig
    from vidur.config.model_config import Llama2ModelConfig
    from vidur.execution_time_predictor.random_forrest_execution_time_predictor import (
        RandomForrestExecutionTimePredictor,
    )

    # vidur finds models among the subclasses of its own, which live as long as something holds them.
    model = _define_model(Llama2ModelConfig, spec["model"], spec["shape"]) if spec["shape"] is not None else None
    limits = spec["limits"] = _limits(spec["folder"], spec["tensor_parallel_size"])

    class Predictor(RandomForrestExecutionTimePredictor):
        """vidur's predictor on local files, with the same forest for the same profiles, and progress."""

        _trained = 0

        def _load_predictions_from_hf(self):
            raise FileNotFoundError("no predictions are published for these profiles")

        def _get_input_files(self):
            names = ("compute/mlp", "compute/attention", "network/all_reduce", "network/send_recv")
            return tuple(f"{spec['folder']}/{name}.csv.xz" for name in names)

        def _train_model(self, model_name, model_type, df, feature_cols, target_col):
            # vidur looks for the best of many forests; of one there is nothing to choose.
            self._trained += 1
            _say(f"vidur: training {self._trained} of {_models(spec)}, {model_name}")
            return RandomForestRegressor(random_state=0, **_FOREST).fit(df[feature_cols], df[target_col])

        def _store_model_prediction_cache(self, *args):
            pass

    config = RandomForrestExecutionTimePredictorConfig(
        no_cache=True,
        cache_dir="cache",
        prediction_max_tokens_per_request=max(limits["tokens"], limits["context"]),
        prediction_max_batch_size=limits["requests"],
        prediction_max_prefill_chunk_size=limits["chunk"],
        kv_cache_prediction_granularity=CONTEXT_GRANULARITY,
        use_native_execution_time_predictor=False,
        # What the CPU adds to an all-reduce is in the roofline's times already.
        **({"nccl_cpu_launch_overhead_ms": 0.0} if spec["shape"] is not None else {}),
    )
    replica = ReplicaConfig(
        model_name=spec["model"],
        device=spec["device"],
        network_device=spec["network_device"],
        num_pipeline_stages=spec["pipeline_parallel_size"],
        tensor_parallel_size=spec["tensor_parallel_size"],
    )
    predictor = Predictor(config, replica, CacheConfig(block_size=limits["block_size"]))
    del model
    return predictor


def _models(spec: dict[str, Any]) -> int:
    return 12 + (spec["tensor_parallel_size"] > 1) + (spec["pipeline_parallel_size"] > 1)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _define_model(base: type, name: str, shape: dict[str, Any]) -> type:
    """A model that vidur does not know."""
    from dataclasses import make_dataclass

    fields = [(key, type(value), value) for key, value in shape.items()]
    return make_dataclass(
        "SimulatedModelConfig", fields, bases=(base,), namespace={"get_name": staticmethod(lambda: name)}
    )


def _limits(folder: str, gpus: int) -> dict[str, int]:
    """How far the profiles reach: the predictor is flat beyond what its forest has seen."""
    import pandas

    mlp = pandas.read_csv(f"{folder}/compute/mlp.csv.xz")
    attention = pandas.read_csv(f"{folder}/compute/attention.csv.xz")
    mlp = mlp[mlp["num_tensor_parallel_workers"] == gpus]
    attention = attention[attention["num_tensor_parallel_workers"] == gpus]
    decode = attention[attention["prefill_chunk_size"] == 0]
    return {
        "block_size": int(attention["block_size"].iloc[0]),
        "tokens": int(mlp["num_tokens"].max()) // STEP_GRANULARITY * STEP_GRANULARITY,
        "requests": int(decode["batch_size"].max()),
        "context": int(attention["kv_cache_size"].max()) // CONTEXT_GRANULARITY * CONTEXT_GRANULARITY,
        "chunk": int(attention["prefill_chunk_size"].max()) // CHUNK_GRANULARITY * CHUNK_GRANULARITY,
    }


def table_of(predictor: Any, spec: dict[str, Any]) -> StepTable:
    """The predictions, with all that depends on the tokens of a step in one sum, as vidur's ExecutionTime has it."""
    limits, said = spec["limits"], predictor._predictions
    model = predictor._model_config
    operations = [*_LAYER_OPERATIONS, *(["post_attention_layernorm"] if model.post_attn_norm else [])]
    sizes = range(STEP_GRANULARITY, limits["tokens"] + 1, STEP_GRANULARITY)
    tokens = [sum(float(said[operation][(size,)]) for operation in operations) for size in sizes]
    if spec["tensor_parallel_size"] > 1:
        launch = predictor._config.nccl_cpu_launch_overhead_ms
        tokens = [
            time + 2 * (float(said["all_reduce"][(size,)]) + launch) for time, size in zip(tokens, sizes, strict=True)
        ]
    contexts = range(0, limits["context"] + 1, CONTEXT_GRANULARITY)
    overhead = predictor._attention_decode_batching_overhead_fraction
    decode = [
        [float(said["attn_decode"][(requests, context)]) * (1 + overhead * (requests > 1)) for context in contexts]
        for requests in range(1, limits["requests"] + 1)
    ]
    chunks = range(CHUNK_GRANULARITY, limits["chunk"] + 1, CHUNK_GRANULARITY)
    prefill = [[float(said["attn_prefill"][(before, chunk)]) for chunk in chunks] for before in contexts]
    stages = spec["pipeline_parallel_size"]
    send = [float(said["send_recv"][(size,)]) for size in sizes] if stages > 1 else []
    return StepTable(
        model.num_layers, stages, _rounded(tokens), [*map(_rounded, decode)], [*map(_rounded, prefill)], send
    )


def _rounded(times: list[float]) -> list[float]:
    return [float(f"{time:.6g}") for time in times]


if __name__ == "__main__":
    main(*sys.argv[1:])
