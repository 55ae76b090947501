"""The tables of errors, and all rows as CSV."""

import csv
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.fidelity.workload import Prediction


@dataclass(frozen=True, slots=True)
class Judged:
    """A prediction, and what its row is for (split.py)."""

    prediction: Prediction
    purpose: str

    @property
    def kind(self) -> str:
        """Of model."""
        return "MoE" if self.prediction.mixture else "dense"


def tables(judged: Sequence[Judged]) -> str:
    """Markdown: the errors by split and kind, then by model and device."""
    overall = _table(judged, ("rows are", "kind"), lambda one: (one.purpose, one.kind))
    detail = _table(
        judged,
        ("model", "GPU", "precision", "rows are"),
        lambda one: (
            one.prediction.row.model.rpartition("/")[2],
            one.prediction.row.device.upper(),
            one.prediction.row.precision,
            one.purpose,
        ),
    )
    return f"{overall}\n\n{detail}"


def _table(judged: Sequence[Judged], names: Sequence[str], key: Callable[[Judged], tuple[str, ...]]) -> str:
    groups: dict[tuple[str, ...], list[Judged]] = {}
    for one in judged:
        groups.setdefault(key(one), []).append(one)
    head = [*names, "points", "TPOT: median", "p95", "bias", "TTFT: median", "p95", "bias"]
    lines = [_line(head), _line(["---"] * len(names) + ["--:"] * 7)]
    for group, members in sorted(groups.items()):
        tpot = [one.prediction.tpot_error for one in members]
        ttft = [one.prediction.ttft_error for one in members]
        lines.append(_line([*group, str(len(members)), *_errors(tpot), *_errors(ttft)]))
    return "\n".join(lines)


def _errors(errors: Iterable[float]) -> list[str]:
    """Median and 95th percentile of how far off, and the median with its sign (above 0: too slow), in percent."""
    signed = [100 * error for error in errors]
    far = sorted(abs(error) for error in signed)
    p95 = far[min(len(far) - 1, -(-len(far) * 95 // 100) - 1)]
    return [f"{statistics.median(far):.1f} %", f"{p95:.0f} %", f"{statistics.median(signed):+.1f} %"]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write_rows(judged: Iterable[Judged], path: Path) -> None:
    """Every row with its prediction, in milliseconds."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer: csv.DictWriter[str] | None = None
        for one in judged:
            found = asdict(one.prediction.row) | {
                "purpose": one.purpose,
                "predicted_tpot": round(one.prediction.tpot, 3),
                "predicted_ttft": round(one.prediction.ttft, 2),
                "tpot_error": round(one.prediction.tpot_error, 4),
                "ttft_error": round(one.prediction.ttft_error, 4),
            }
            if writer is None:
                writer = csv.DictWriter(file, found.keys())
                writer.writeheader()
            writer.writerow(found)
