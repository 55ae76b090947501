"""Fits the roofline's constants to the measured servers that split.json calls fitted; no other row enters.

usage, from the root of the repository: python -m benchmarks.fidelity.fit [--evaluations N] [--jobs N] [--write]

Begins with start.json, and prints what it finds beside what vllm_mock has now; --write puts the efficiencies into
vllm_mock/data/devices.json. Needs scipy, and installs aiconfigurator-core as benchmarks.fidelity does.
"""

import argparse
import functools
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

try:
    import numpy as np
    from scipy.optimize import least_squares
except ImportError:
    sys.exit("the fit needs scipy: pip install scipy")

from benchmarks.fidelity.constants import Constants, start, used
from benchmarks.fidelity.package import PACKAGES, measurements
from benchmarks.fidelity.rows import Row, read_rows
from benchmarks.fidelity.split import FITTED, groups, purpose
from benchmarks.fidelity.stages import BLACKWELL, HOPPER, Stage, before_blackwell, for_h100
from benchmarks.fidelity.steps import Recorded, record
from benchmarks.fidelity.written import write
from vllm_mock.engine.step_time.terms import terms

# Rows of more requests, or that wait longer, measure the queue. MiniMax's on B200 were wanted for the large batches.
_MOST_REQUESTS, _MOST_OF_MINIMAX = 256, 512
_MOST_TTFT = 4000.0  # milliseconds

# How far off TPOT may be, as a share, until it counts as one.
_TPOT = 0.05


def main() -> int:
    options = _options()
    rows, _ = read_rows(options.measurements or measurements(options.packages))
    recorded = _recorded(usable(rows), options.jobs)
    print(f"{len(recorded)} rows are fitted to, of {len(rows)}")
    found = fit(recorded, options.evaluations)
    _compare(found, used())
    if options.write:
        write(found)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=30, help="most steps of each of the six fits (default: 30)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes that simulate the loads")
    parser.add_argument("--packages", type=Path, default=PACKAGES, help=f"default: {PACKAGES}")
    parser.add_argument("--measurements", type=Path, help="a silicon_sample.csv that is there already")
    parser.add_argument("--write", action="store_true", help="change vllm_mock/data/devices.json")
    return parser.parse_args()


def usable(rows: Sequence[Row]) -> list[Row]:
    """The fitted rows without those that measure the queue."""
    split = groups()
    return [row for row in rows if purpose(row, split) == FITTED and _calm(row)]


def _calm(row: Row) -> bool:
    large = "MiniMax" in row.model and row.device in BLACKWELL
    return row.ttft < _MOST_TTFT and row.concurrency <= (_MOST_OF_MINIMAX if large else _MOST_REQUESTS)


def _recorded(rows: Sequence[Row], jobs: int) -> list[Recorded]:
    with multiprocessing.Pool(jobs) as pool:
        return pool.map(record, rows, chunksize=1)


def fit(recorded: Sequence[Recorded], evaluations: int) -> Constants:
    """Hopper first: the B200's fp8 and the H100's experts follow from it. Dense models, mixtures, then all."""
    constants = start()
    solved = functools.partial(_solved, evaluations=evaluations)
    constants = for_h100(_family(HOPPER, recorded, constants, solved))
    return _family(BLACKWELL, recorded, before_blackwell(constants), solved)


def _family(
    devices: tuple[str, ...], recorded: Sequence[Recorded], constants: Constants, solved: Callable[..., Constants]
) -> Constants:
    mine = [one for one in recorded if one.row.device in devices]
    for stage in Stage:
        chosen = [one for one in mine if stage.takes(one.model.shape.experts is not None)]
        constants = solved(chosen, constants, devices, stage)
    return constants


def _solved(
    recorded: Sequence[Recorded], constants: Constants, devices: tuple[str, ...], stage: Stage, *, evaluations: int
) -> Constants:
    """The constants after one fit: the logarithms of errors, and how far each constant went, squared (but large
    errors count less: "soft_l1").
    """
    free = stage.free(devices)
    names, spread = list(free), np.array(list(free.values()))
    tpot = np.log([one.row.tpot / 1e3 for one in recorded])
    ttft = np.log([one.row.ttft / 1e3 for one in recorded])
    weights = _weights(recorded) if stage is Stage.ALL else np.ones(len(recorded))

    def residuals(logarithms: list[float]) -> object:
        times = predicted(recorded, constants.moved(devices, names, logarithms))
        first = np.clip((np.log(times[:, 1]) - ttft) / stage.ttft, -3, 3)
        away = 3 * np.array(logarithms) / spread
        return np.concatenate([weights * (np.log(times[:, 0]) - tpot) / _TPOT, away, weights * first])

    found = least_squares(residuals, np.zeros(len(names)), loss="soft_l1", max_nfev=evaluations, diff_step=0.01)
    result = constants.moved(devices, names, list(found.x))
    errors = np.abs(predicted(recorded, result)[:, 0] / np.exp(tpot) - 1)
    print(
        f"{'/'.join(devices)}, {stage.value}: {len(recorded)} rows, cost {found.cost:.1f} after {found.nfev} "
        f"evaluations, TPOT off by {100 * np.median(errors):.1f} % (median)",
        flush=True,
    )
    return result


def _weights(recorded: Sequence[Recorded], size: int = 40) -> object:
    """Groups of many rows count little more than those of few."""
    keys = [(one.row.model, one.row.device, one.row.precision) for one in recorded]
    return np.array([min(1.3, (size / keys.count(key)) ** 0.5) for key in keys])


def predicted(recorded: Sequence[Recorded], constants: Constants) -> np.ndarray:
    """Seconds of TPOT and TTFT, a row each. TTFT has the frontend's part, and the step that an asynchronous scheduler
    lets a request wait for: the steps were recorded without either.
    """
    devices = {name: constants.device(name) for name in {one.row.device for one in recorded}}
    found = []
    for one in recorded:
        row = one.row
        parts = terms(devices[row.device], one.model, row.tensor_parallel, 1, expert_parallel=row.expert_parallel)
        seconds = one.steps.seconds(parts, constants.host_of(one.asynchronous))
        tpot, ttft = float(seconds @ one.steps.tpot), float(seconds @ one.steps.ttft)
        found.append((tpot, ttft + constants.host["frontend"] + (tpot if one.asynchronous else 0)))
    return np.array(found)


def _compare(found: Constants, now: Constants) -> None:
    """Prints what differs, and in percent how much."""
    print(f"\n{'constant':32} {'found':>10} {'vllm_mock':>10}")
    for name, value in found.host.items():
        _line(f"host {name}, s", value, now.host.get(name))
    for device, parts in found.efficiency.items():
        for part, value in parts.items():
            sizes = [f"{part}.{size}" for size in value] if isinstance(value, dict) else [part]
            for name in sizes:
                _line(f"{device} {name}", found.get(device, name), now.get(device, name))


def _line(name: str, value: float, now: float | None) -> None:
    same = "not simulated" if now is None else f"{now:10.3g} {100 * (value / now - 1):+7.1f} %"
    print(f"{name:32} {value:10.3g} {same}")


if __name__ == "__main__":
    sys.exit(main())
