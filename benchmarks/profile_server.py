"""Shows where a worker spends its CPU time under load, by function and by line.

usage: python benchmarks/profile_server.py streaming [--streams N] | requests  [--top N]
"""

import argparse
import collections
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from client import Load, run_load
from run import INSTANT_FLAGS, INTERVAL_MS, REQUEST_CONNECTIONS, REQUEST_TOKENS, STREAM_FLAGS, allow_many_files, chat
from server import RESULTS, ROOT, Server

PROFILING = Path(__file__).with_name("profiling")
STACKS = RESULTS / "stacks"
LINE = re.compile(r":\d+\)$")


def load_for(mode: str, streams: int, seconds: float) -> tuple[Load, list[str]]:
    """The load of a mode and the server's flags for it."""
    if mode == "requests":
        request = chat(REQUEST_TOKENS, stream=False)
        return Load(REQUEST_CONNECTIONS, request, ramp=0.2, warm=0.5, measure=seconds), INSTANT_FLAGS
    load = Load(streams, {}, ramp=2.0, warm=0.5, measure=seconds, interval_ms=INTERVAL_MS)
    load.request = chat(int((load.seconds + 1.0) * 1000 / INTERVAL_MS), stream=True)
    return load, STREAM_FLAGS


def stacks() -> Iterator[tuple[list[str], int]]:
    """Each sampled stack, outermost frame first, and how often it was seen."""
    for path in STACKS.glob("*.stacks"):
        for line in path.read_text().splitlines():
            frames, _, count = line.rpartition(" ")
            yield frames.split(";"), int(count)


def report(top: int) -> str:
    """Shares of all samples: inside a function, inside and below it, on a line."""
    own: collections.Counter[str] = collections.Counter()
    below: collections.Counter[str] = collections.Counter()
    lines: collections.Counter[str] = collections.Counter()
    for frames, count in stacks():
        functions = [LINE.sub(")", frame) for frame in frames]
        own[functions[-1]] += count
        lines[frames[-1]] += count
        below.update(dict.fromkeys(functions, count))
    total = max(1, own.total())
    parts = [f"{total} samples"]
    for title, counter in (("in the function and below", below), ("in the function itself", own), ("by line", lines)):
        parts.append(f"\n% {title}")
        parts += [f"{100 * count / total:5.1f}  {name}" for name, count in counter.most_common(top)]
    return "\n".join(parts)


def main() -> int:
    """Run the load against a sampled server and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("mode", choices=("streaming", "requests"))
    parser.add_argument("--streams", type=int, default=300, help="parallel streams (300)")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of the load after its start (6)")
    parser.add_argument("--top", type=int, default=40, help="rows of each list (40)")
    parser.add_argument("--tree", type=Path, default=ROOT, help="a checkout whose app.py to profile (this one)")
    arguments = parser.parse_args()
    allow_many_files()
    shutil.rmtree(STACKS, ignore_errors=True)
    STACKS.mkdir(parents=True)
    os.environ |= {"PROFILE_FOLDER": str(STACKS), "PYTHONPATH": str(PROFILING)}
    load, flags = load_for(arguments.mode, arguments.streams, arguments.seconds)
    with Server(["--served-model-name=bench", *flags], arguments.tree.resolve()) as server:
        for pid in server.pids:
            os.kill(pid, signal.SIGRTMIN)
        run_load(server, load)
    print(report(arguments.top))
    return 0


if __name__ == "__main__":
    sys.exit(main())
