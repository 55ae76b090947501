"""Row: one measured server and load, of aiconfigurator-core's silicon_sample.csv."""

import collections
import csv
import re
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# Who measured: InferenceX of SemiAnalysis (prompts and answers of 80 to 100 % of isl and osl), or NVIDIA (all equal).
INFERENCEX, NVIDIA = "InferenceX", "NVIDIA"


@dataclass(frozen=True, slots=True)
class Row:
    """A server of vLLM under `concurrency` requests at any time, with isl tokens of input and osl of output.

    tpot, ttft: milliseconds per output token after the first one, and to the first one; the median where a point was
    measured more than once. expert_parallel: experts are spread over the GPUs as a whole.
    """

    model: str
    system: str
    precision: str
    isl: int
    osl: int
    concurrency: int
    tensor_parallel: int
    expert_parallel: bool
    version: str
    campaign: str
    tpot: float
    ttft: float

    @property
    def device(self) -> str:
        """As SIMULATION names it."""
        return self.system.removesuffix("_sxm")


def read_rows(path: Path) -> tuple[list[Row], dict[str, int]]:
    """The rows of vLLM that can be simulated, and for how many the reason why not."""
    skipped: collections.Counter[str] = collections.Counter()
    points: dict[tuple[object, ...], list[dict[str, str]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for record in csv.DictReader(file):
            if record["backend"] != "vllm":
                continue
            if reason := _unusable(record):
                skipped[reason] += 1
            else:
                points.setdefault(_point(record), []).append(record)
    return [_row(records) for records in points.values()], dict(skipped)


def _unusable(record: dict[str, str]) -> str | None:
    if record["mode"] != "agg":
        return "prefill and decode on different GPUs"
    if "dynamo_version" in record["silicon_data_source"]:
        return "several workers of Dynamo, whose number is not known"
    if record["attention_dp_size"] not in ("", "1"):
        return "attention is data parallel"
    if not record["tp_size"] or not record["silicon_tpot_ms"]:
        return "incomplete"
    tensor, experts = int(record["tp_size"]), int(record["moe_tp_size"] or 1) * int(record["moe_ep_size"] or 1)
    if experts > 1 and experts != tensor:
        return "experts and attention on different numbers of GPUs"
    return None


def _point(record: dict[str, str]) -> tuple[object, ...]:
    names = ("model_path", "system", "precision", "isl", "osl", "tp_size", "moe_ep_size", "backend_version")
    return (*(record[name] for name in names), _concurrency(record))


def _concurrency(record: dict[str, str]) -> int:
    found = re.search(r"silicon_concurrency=(\d+)", record["silicon_data_source"])
    return int(found[1] if found else record["batch_size"])


def _row(records: list[dict[str, str]]) -> Row:
    first = records[0]
    return Row(
        model=first["model_path"],
        system=first["system"],
        precision=first["precision"] or "bf16",
        isl=int(first["isl"]),
        osl=int(first["osl"]),
        concurrency=_concurrency(first),
        tensor_parallel=int(first["tp_size"]),
        expert_parallel=int(first["moe_ep_size"] or 1) > 1,
        version=first["backend_version"],
        campaign=NVIDIA if "auto-gap-analysis" in first["silicon_data_source"] else INFERENCEX,
        tpot=_median(records, "silicon_tpot_ms"),
        ttft=_median(records, "silicon_ttft_ms"),
    )


def _median(records: Iterable[dict[str, str]], name: str) -> float:
    return statistics.median(float(record[name]) for record in records)
