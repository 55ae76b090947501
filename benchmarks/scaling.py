"""What a second worker brings on two cores: python benchmarks/scaling.py [--rounds 3] [--measure 3] [--realtime]

The load client needs a part of the same two cores, so what arrives per second would say too little. What counts is the
work done per CPU second of the busier worker: as much would be done per second if each worker had a core for itself.
It falls when workers disturb each other (shared state, the parent) and when they share the work unevenly.
"""

import argparse
import statistics
import sys
from typing import Any

from client import Load, run_load
from processes import cpu_seconds
from run import (
    INSTANT_FLAGS,
    INTERVAL_MS,
    REQUEST_CONNECTIONS,
    REQUEST_TOKENS,
    STREAM_FLAGS,
    allow_many_files,
    chat,
    take_precedence,
)
from server import Server, cores

STREAMS = 1000
WARM_SECONDS = 1.0


def per_cpu_second(workers: int, load: Load, flags: list[str], unit: str) -> tuple[float, float]:
    """(units of work per CPU second of the busier worker, the share of the work that it did)."""
    with Server(["--served-model-name=bench", f"--data-parallel-size={workers}", *flags], on=set(cores())) as server:
        pids = server.pids[1:]
        before = {pid: cpu_seconds([pid]) for pid in pids}
        figures: dict[str, Any] = run_load(server, load)
        spent = [cpu_seconds([pid]) - before[pid] for pid in pids]
    # The client tells of its window alone, the workers' time is that of the whole load: the same for both sizes.
    work = figures[unit] * sum(spent) / figures["server_cpu"]
    return work / max(spent), max(spent) / sum(spent)


def main() -> int:
    """Measure one and two workers in turns; print the ratios of the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--measure", type=float, default=3.0, help="seconds of each window (3)")
    parser.add_argument("--realtime", action="store_true", help="real-time priority, for a busy machine (root)")
    arguments = parser.parse_args()
    allow_many_files()
    if arguments.realtime:
        take_precedence()
    whole = Load(REQUEST_CONNECTIONS, chat(REQUEST_TOKENS, stream=False), 0.2, WARM_SECONDS, arguments.measure)
    streams = Load(STREAMS, {}, 2.0, WARM_SECONDS, arguments.measure, INTERVAL_MS)
    streams.request = chat(int((streams.seconds + 1.0) * 1000 / INTERVAL_MS), stream=True)
    for name, load, flags, unit in (
        ("requests", whole, INSTANT_FLAGS, "completed"),
        (f"tokens of {STREAMS} streams", streams, STREAM_FLAGS, "tokens"),
    ):
        found: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
        for _ in range(arguments.rounds):
            for workers, figures in found.items():
                figures.append(per_cpu_second(workers, load, flags, unit))
        one, two = (statistics.median(rate for rate, _ in figures) for figures in found.values())
        share = statistics.median(share for _, share in found[2])
        print(
            f"{name}: {one:,.0f} per CPU second of one worker, {two:,.0f} of the busier of two "
            f"(which did {share:.0%} of the work): x {two / one:.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
