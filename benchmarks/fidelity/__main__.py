"""Predicts every measured server of aiconfigurator-core whose model and GPU are known, and says how far off it was.

usage, from the root of the repository: python -m benchmarks.fidelity [--only TEXT ...] [--step-time NAME] [--jobs N]

Installs aiconfigurator-core 0.12.0 (144 MB) into a folder of its own at the first run; measurements are all it is
needed for. Prints tables, and writes rows.csv, tables.md and scatter.png to benchmarks/results/fidelity.
"""

import argparse
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.fidelity.package import PACKAGES, measurements
from benchmarks.fidelity.picture import draw
from benchmarks.fidelity.report import Judged, tables, write_rows
from benchmarks.fidelity.rows import Row, read_rows
from benchmarks.fidelity.split import groups, purpose
from benchmarks.fidelity.workload import Prediction, predict
from vllm_mock.settings import SettingsError

RESULTS = Path(__file__).parents[1] / "results" / "fidelity"


def main() -> int:
    options = _options()
    if options.step_time == "aiconfigurator":
        sys.path.append(str(options.packages))
    rows, skipped = read_rows(options.measurements or measurements(options.packages))
    rows = [row for row in rows if all(text in _name(row) for text in options.only)]
    judged, refused = _judge(rows, options.step_time, options.jobs)
    options.output.mkdir(parents=True, exist_ok=True)
    text = tables(judged)
    print(text)
    for reason, count in skipped.items():
        print(f"left out: {count} rows, {reason}")
    for row, reason in refused:
        print(f"left out: {_name(row)}: {reason}")
    write_rows(judged, options.output / "rows.csv")
    (options.output / "tables.md").write_text(text + "\n", encoding="utf-8")
    draw(judged, f"{len(judged)} measured servers, step times {options.step_time}", options.output / "scatter.png")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], metavar="TEXT", help="rows whose name has these, as 70B h200")
    parser.add_argument("--step-time", default="roofline", help="roofline (default) or aiconfigurator")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--packages", type=Path, default=PACKAGES, help=f"default: {PACKAGES}")
    parser.add_argument("--measurements", type=Path, help="a silicon_sample.csv that is there already")
    parser.add_argument("--output", type=Path, default=RESULTS, help="default: benchmarks/results/fidelity")
    return parser.parse_args()


def _name(row: Row) -> str:
    return f"{row.model} {row.device} {row.precision} tp{row.tensor_parallel} {row.isl}/{row.osl} c{row.concurrency}"


def _judge(rows: Sequence[Row], source: str, jobs: int) -> tuple[list[Judged], list[tuple[Row, str]]]:
    found_groups, judged, refused = groups(), [], []
    for row, found in _predictions(rows, source, jobs):
        if isinstance(found, str):
            refused.append((row, found))
            continue
        judged.append(Judged(found, purpose(row, found_groups)))
    return judged, refused


def _predictions(rows: Sequence[Row], source: str, jobs: int) -> Iterator[tuple[Row, Prediction | str]]:
    """Each row with what is predicted, or with why nothing can be."""
    with multiprocessing.Pool(jobs) as pool:
        for number, (row, found) in enumerate(
            zip(rows, pool.imap(partial(_predict, source=source), rows), strict=True), 1
        ):
            if sys.stderr.isatty():
                print(f"\r{number} of {len(rows)}", end="" if number < len(rows) else "\n", file=sys.stderr)
            yield row, found


def _predict(row: Row, source: str) -> Prediction | str:
    try:
        return predict(row, source)
    except SettingsError as error:
        return str(error)


if __name__ == "__main__":
    sys.exit(main())
