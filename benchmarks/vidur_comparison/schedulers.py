"""vidur's Sarathi scheduler against the simulator's, with the same predictor, in virtual time."""

import json
import math
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from vllm_mock.engine.step_time.vidur.source import VidurStepTime
from vllm_mock.engine.step_time.vidur.table import StepTable
from vllm_mock.settings import Settings
from vllm_mock.simulate import TraceRequest, simulate

_ROOT = Path(__file__).parents[2]
_REQUESTS = 300
_LONGEST = 3900


@dataclass(frozen=True, slots=True)
class Run:
    """rate: requests per second, by Poisson; inf: all at once. seqs, tokens: of a step. blocks: of 16 tokens."""

    name: str
    rate: float
    seqs: int = 128
    tokens: int = 512
    blocks: int = 20_000


# No run preempts: vidur 0.0.26 ends with an AssertionError when it restarts a request.
RUNS = (
    Run("light load", 0.5),
    Run("middling load", 1.5),
    Run("all at once", math.inf),
    Run("all at once, 2,048 tokens per step", math.inf, tokens=2048),
    Run("all at once, 16 sequences at most", math.inf, seqs=16),
)


class _CountedByVidur(StepTable):
    """Its scheduler counts the tokens of a chunk among those before it, too."""

    __slots__ = ()

    def prefill_time(self, tokens: int, before: int) -> float:
        return super().prefill_time(tokens, before + tokens)


def compare_schedulers(settings: Settings, table: StepTable, specification: dict[str, Any], folder: Path) -> str:
    """A table in Markdown: vidur's figures, and by how much the simulator's are above them.

    The last columns: by how much the end of a request differs, in the median; and the same if chunks are counted as
    vidur's scheduler does.
    """
    as_vidur = _CountedByVidur(**{field.name: getattr(table, field.name) for field in fields(table)})
    traces = [_trace(run, number) for number, run in enumerate(RUNS)]
    theirs = _theirs(traces, specification, folder)
    head = [
        "load",
        "TTFT: mean",
        "ours",
        "ITL: mean",
        "ours",
        "p99",
        "ours",
        "tokens/s",
        "ours",
        "per request",
        "as vidur counts",
    ]
    lines = [_line(head), _line(["---"] + ["--:"] * (len(head) - 1))]
    for run, trace, tokens in zip(RUNS, traces, theirs, strict=True):
        ours = _ours(run, trace, settings, table)
        same = _ours(run, trace, settings, as_vidur)
        differences = [f"{_difference(trace, tokens, found):.1%}" for found in (ours, same)]
        lines.append(_line([run.name, *_figures(trace, tokens, ours), *differences]))
    return "\n".join(lines)


def _trace(run: Run, seed: int) -> list[TraceRequest]:
    draws, now, trace = random.Random(seed), 0.0, []
    for _ in range(_REQUESTS):
        now += draws.expovariate(run.rate) if run.rate < math.inf else 0.0
        prompt = min(int(draws.lognormvariate(6.3, 0.9)) + 2, _LONGEST - 600)
        output = min(int(draws.lognormvariate(4.9, 0.7)) + 2, 600)
        trace.append(TraceRequest(now, prompt, output))
    return trace


def _theirs(traces: Sequence[list[TraceRequest]], specification: dict[str, Any], folder: Path) -> list[Any]:
    runs = [
        asdict(run) | {"requests": [(one.arrival, one.prompt_tokens, one.output_tokens) for one in trace]}
        for run, trace in zip(RUNS, traces, strict=True)
    ]
    (folder / "runs.json").write_text(json.dumps(specification | {"runs": runs}), encoding="utf-8")
    path = os.pathsep.join([str(_ROOT), *map(os.path.abspath, filter(None, sys.path))])
    command = [sys.executable, "-m", "benchmarks.vidur_comparison.theirs", "runs.json", "tokens.json"]
    subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONPATH": path}, check=True)
    return json.loads((folder / "tokens.json").read_text(encoding="utf-8"))


def _ours(run: Run, trace: list[TraceRequest], settings: Settings, table: StepTable) -> list[list[float]]:
    step = {"max_num_seqs": run.seqs, "max_num_batched_tokens": run.tokens}
    cache = {"num_gpu_blocks": run.blocks, "block_size": 16, "enable_prefix_caching": False}
    # As vidur, which has no frontend, and schedules a step when the last one has ended.
    engine = {"max_model_len": 4096, "async_scheduling": False, "frontend_latency": 0.0}
    limits = Settings(**{**vars(settings), **step, **cache, **engine})
    return [result.token_times for result in simulate(trace, limits, VidurStepTime(table, "measured"))]


def _figures(trace: list[TraceRequest], theirs: list[list[float]], ours: list[list[float]]) -> list[str]:
    cells = []
    for scale, figure in ((1, _ttft), (1000, _mean_gap), (1000, _long_gap), (1, _throughput)):
        reference, found = figure(trace, theirs), figure(trace, ours)
        unit = {_ttft: " s", _throughput: ""}.get(figure, " ms")
        cells += [f"{reference * scale:.3g}{unit}", f"{found / reference - 1:+.1%}"]
    return cells


def _difference(trace: list[TraceRequest], theirs: list[list[float]], ours: list[list[float]]) -> float:
    """The median over all requests, as a share of the time that vidur's took."""
    return statistics.median(
        abs(found[-1] - reference[-1]) / (reference[-1] - request.arrival)
        for request, reference, found in zip(trace, theirs, ours, strict=True)
    )


def _ttft(trace: list[TraceRequest], tokens: list[list[float]]) -> float:
    return statistics.fmean(times[0] - request.arrival for request, times in zip(trace, tokens, strict=True))


def _gaps(tokens: list[list[float]]) -> list[float]:
    return [later - earlier for times in tokens for earlier, later in pairwise(times)]


def _mean_gap(trace: list[TraceRequest], tokens: list[list[float]]) -> float:
    return statistics.fmean(_gaps(tokens))


def _long_gap(trace: list[TraceRequest], tokens: list[list[float]]) -> float:
    gaps = sorted(_gaps(tokens))
    return gaps[int(0.99 * len(gaps))]


def _throughput(trace: list[TraceRequest], tokens: list[list[float]]) -> float:
    return sum(map(len, tokens)) / (max(times[-1] for times in tokens) - trace[0].arrival)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
