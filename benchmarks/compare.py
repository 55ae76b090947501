"""This server beside others that do the same work, in one run: each in turn, several rounds, the lowest CPU counts.

usage: python benchmarks/compare.py [--python PEERS_PYTHON] [--rounds 3] [--measure 3] [--plot docs/performance.png]

Without --python the others are installed into benchmarks/results/peers (peers/requirements.txt) first. Prints a table
as Markdown and writes benchmarks/results/compare-TIME.json. --plot draws it, with the others' matplotlib.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from run import (
    BASELINE,
    STREAM_FLAGS,
    allow_many_files,
    measure_requests,
    measure_streaming,
    progress,
    take_precedence,
)
from server import RESULTS, ROOT

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
STREAMS = (500, 1000)
SIMULATION = ["--simulation=a100", "--model=meta-llama/Llama-3.1-8B-Instruct"]
OURS, SIMULATED, FLASK = "this server", "this server, simulated A100", "trivial Flask on gevent"
STARLETTE, GUIDELLM = "uvicorn + Starlette", "guidellm mock-server"

Measure = Callable[[], dict[str, Any]]


def environment() -> str:
    """The Python of the others' environment, made when it is not there."""
    folder = RESULTS / "peers"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "-r", str(PEERS / "requirements.txt")], check=True)
    return str(python)


def measures(python: str, seconds: float) -> dict[tuple[str, str], Measure]:
    """What is measured, by design and load."""
    designs: list[tuple[str, Path, str | None]] = [(OURS, ROOT, None), (FLASK, BASELINE, None)]
    designs.append((STARLETTE, PEERS / "starlette", python))
    if Path(python).with_name("guidellm").exists():
        designs.append((GUIDELLM, PEERS / "guidellm", python))
    found: dict[tuple[str, str], Measure] = {}
    for design, root, own in designs:
        for streams in STREAMS:
            found[design, f"{streams} streams"] = streaming(streams, seconds, root, STREAM_FLAGS, own)
        found[design, "requests"] = requests(seconds, root, own)
    for streams in STREAMS:
        found[SIMULATED, f"{streams} streams"] = streaming(streams, seconds, ROOT, SIMULATION, None)
    return found


def streaming(streams: int, seconds: float, root: Path, flags: list[str], python: str | None) -> Measure:
    return lambda: measure_streaming(streams, seconds, root, flags=flags, python=python)


def requests(seconds: float, root: Path, python: str | None) -> Measure:
    return lambda: measure_requests(seconds, root, python)


def cost(figures: dict[str, Any]) -> float:
    """Microseconds of CPU per token or request."""
    per = "cpu_us_per_token" if "cpu_us_per_token" in figures else "cpu_us_per_request"
    return figures[per]


def in_turns(found: dict[tuple[str, str], Measure], rounds: int) -> dict[tuple[str, str], dict[str, Any]]:
    """The figures of the cheapest round of each; what fails is left out, with a word on it."""
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for number in range(rounds):
        for what, measure in found.items():
            progress(f"round {number + 1}: {what[0]}, {what[1]}")
            try:
                figures = measure()
            except (OSError, RuntimeError, TimeoutError) as error:
                print(f"{what[0]}, {what[1]}: {str(error)[-300:]}", file=sys.stderr)
                continue
            if what not in best or cost(figures) < cost(best[what]):
                best[what] = figures
    return best


def table(best: dict[tuple[str, str], dict[str, Any]]) -> str:
    """Markdown; each cost also as its ratio to that of trivial Flask."""
    lines = [
        "| design | load | CPU us per token or request | of Flask's | per second | tokens/read |"
        " gap error or latency p50 / p95 / p99 ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for (design, load), figures in best.items():
        flask = best.get((FLASK, load))
        ratio = "-" if flask is None else f"{cost(figures) / cost(flask):.2f}"
        rate = figures.get("tokens_per_s") or figures.get("requests_per_s") or 0.0
        times = figures.get("gap_error_ms") or figures.get("latency_ms") or {}
        reads = f"{figures['tokens_per_read']:.2f}" if "tokens_per_read" in figures else "-"
        spread = " / ".join("-" if times[name] is None else f"{times[name]:.1f}" for name in ("p50", "p95", "p99"))
        starved = figures["starved_connections"]
        note = f", {starved} without an answer" if starved else ""
        lines.append(f"| {design} | {load} | {cost(figures):.1f} | {ratio} | {rate:,.0f} | {reads} | {spread}{note} |")
    return "\n".join(lines)


def main() -> int:
    """Measure all in turns, print the table, write the file, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--python", help="the Python of an environment that has the others")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--measure", type=float, default=3.0, help="seconds of each window (3)")
    parser.add_argument("--plot", type=Path, help="a PNG file to draw")
    parser.add_argument("--realtime", action="store_true", help="real-time priority, for a busy machine (root)")
    arguments = parser.parse_args()
    python = os.path.abspath(arguments.python) if arguments.python else environment()
    allow_many_files()
    if arguments.realtime:
        take_precedence()
    best = in_turns(measures(python, arguments.measure), arguments.rounds)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / time.strftime("compare-%Y%m%d-%H%M%S.json")
    rows = [{"design": design, "load": load, **figures} for (design, load), figures in best.items()]
    path.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(best))
    if arguments.plot:
        subprocess.run([python, str(PEERS / "plot.py"), str(path), str(arguments.plot)], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
