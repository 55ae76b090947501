"""The server and the load of a Row, through the offline twin."""

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.fidelity.rows import INFERENCEX, NVIDIA, Row
from vllm_mock.engine.sizing import sized
from vllm_mock.engine.step_time import step_time
from vllm_mock.engine.step_time.model import simulated_model
from vllm_mock.settings import Settings, load
from vllm_mock.simulate import TraceRequest, simulate

# Requests are simulated in three waves of as many as run at once: the first one, which comes all at once, one amid
# the load, and the last one, beside which the load ends; each counts for as much as in the measured load.
_WAVES = 3


@dataclass(frozen=True, slots=True)
class Load:
    """shortest, longest: prompts and answers, as shares of their nominal length. weights: of the waves."""

    shortest: float
    longest: float
    weights: tuple[float, float, float]


# InferenceX sends ten times as many requests as run at once. How many NVIDIA sent is not known, so only the middle
# counts; their lengths are equal, but as no server is so regular that all requests stay in step, here they are not.
_LOADS = {INFERENCEX: Load(0.8, 1.0, (0.1, 0.8, 0.1)), NVIDIA: Load(0.9, 1.1, (0.0, 1.0, 0.0))}

# Where the checkpoint of the model's own name is another one.
_QUANTIZATION = {"fp8": "fp8", "fp4": "nvfp4"}
_OWN = ("openai/gpt-oss-120b",)


@dataclass(frozen=True, slots=True)
class Prediction:
    """Milliseconds: means over all requests. mixture: the model has experts."""

    row: Row
    tpot: float
    ttft: float
    mixture: bool

    @property
    def tpot_error(self) -> float:
        """Share of the measured time; above 0: predicted too slow."""
        return self.tpot / self.row.tpot - 1

    @property
    def ttft_error(self) -> float:
        """The same of the time to the first token."""
        return self.ttft / self.row.ttft - 1


def predict(row: Row, source: str = "roofline") -> Prediction:
    """What the twin says of a row, with the step times of `source`."""
    settings = server(row, source)
    results = simulate(requests(row), settings, step_time(settings), concurrency=row.concurrency)
    mixture = simulated_model(settings).shape.experts is not None
    tpots = _mean([result.tpot_seconds or 0.0 for result in results], row)
    return Prediction(row, tpots, _mean([result.ttft_seconds for result in results], row), mixture)


def waves(row: Row) -> tuple[float, float, float]:
    """What each wave of requests counts in a mean."""
    return _LOADS[row.campaign].weights


def _mean(seconds: Sequence[float], row: Row) -> float:
    """Milliseconds, of the requests in their order."""
    size = row.concurrency
    means = [statistics.fmean(seconds[size * wave : size * (wave + 1)]) for wave in range(_WAVES)]
    return 1000 * sum(weight * mean for weight, mean in zip(waves(row), means, strict=True))


def server(row: Row, source: str) -> Settings:
    """The settings of the server, as far as they are known."""
    flags = ["--model", row.model, "--tensor-parallel-size", str(row.tensor_parallel), "--step-time", source]
    flags += ["--max-model-len", str(2 * (row.isl + row.osl)), "--no-enable-prefix-caching"]
    flags += ["--max-num-batched-tokens", "8192", *_inferencex(row)]
    if row.precision in _QUANTIZATION and row.model not in _OWN:
        flags += ["--quantization", _QUANTIZATION[row.precision]]
    if row.expert_parallel:
        flags += ["--enable-expert-parallel"]
    if row.version == "0.12.0":
        # Asynchronous scheduling is the default since 0.14.
        flags += ["--no-async-scheduling"]
    return sized(load(flags, {"SIMULATION": row.device}))


def _inferencex(row: Row) -> list[str]:
    """What the launch scripts of InferenceX set (benchmarks/ of its repository)."""
    if row.campaign != INFERENCEX:
        return []
    name, blackwell = row.model.rpartition("/")[2], row.device.startswith("b")
    fast = ("Llama" in name or "gpt-oss" in name) and blackwell
    flags = ["--max-num-seqs", str(512 if fast else max(row.concurrency, 4))]
    roomy = (name.startswith("Kimi") and not blackwell) or (name.startswith("MiniMax") and row.precision == "fp8")
    flags += ["--gpu-memory-utilization", "0.95" if roomy and row.device != "h100" else "0.9"]
    if "Llama" in name or fast:
        flags += ["--kv-cache-dtype", "fp8"]
    return flags


def requests(row: Row) -> list[TraceRequest]:
    """The load: all requests are there at once, of which `concurrency` are sent."""
    load = _LOADS[row.campaign]
    draws = random.Random(f"{row.isl} {row.osl} {row.concurrency}")

    def tokens(nominal: int) -> int:
        return draws.randint(int(nominal * load.shortest), int(nominal * load.longest))

    return [TraceRequest(0.0, tokens(row.isl), tokens(row.osl)) for _ in range(_WAVES * row.concurrency)]
