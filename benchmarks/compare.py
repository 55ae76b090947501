"""This server beside others that do the same work, in one run: each in turn, several rounds, the lowest CPU counts.

usage: python benchmarks/compare.py [--only DESIGN ...] [--python PEERS_PYTHON] [--rounds 3] [--measure 3]
                                    [--add FILE ...] [--plot docs/performance.png] [--realtime | --nice]

Without --python the others are installed into benchmarks/results/peers first (peers/requirements.txt,
peers/requirements-alone.txt and, where npm is, peers/package.json). Prints a table as Markdown and writes
benchmarks/results/compare-TIME.json. --add takes the rounds of such files in, so a run can be done in pieces. --plot
draws it, with the others' matplotlib.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from run import (
    BASELINE,
    STREAM_FLAGS,
    allow_many_files,
    be_first,
    measure_requests,
    measure_streaming,
    progress,
    take_precedence,
)
from server import RESULTS, ROOT

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
STREAMS = (500, 1000)
LOADS = (*(f"{streams} streams" for streams in STREAMS), "requests")
SIMULATION = ["--simulation=a100", "--model=meta-llama/Llama-3.1-8B-Instruct"]
OURS, SIMULATED, FLASK = "this server", "this server, simulated A100", "trivial Flask on gevent"


@dataclass(frozen=True, slots=True)
class Design:
    """A server: the folder of its app.py, and what must be in the others' environment for it (none: it is ours)."""

    name: str
    folder: Path
    needs: str | None = None
    flags: tuple[str, ...] = tuple(STREAM_FLAGS)
    plain_requests: bool = True


DESIGNS = (
    Design(OURS, ROOT),
    Design(FLASK, BASELINE),
    Design("uvicorn + Starlette", PEERS / "starlette", "starlette"),
    Design("Dynamo frontend + mocker", PEERS / "dynamo", "dynamo"),
    Design("guidellm mock-server", PEERS / "guidellm", "guidellm"),
    Design("LLMock", PEERS / "llmock", "llmock"),
    Design("mockllm", PEERS / "mockllm", "mockllm"),
    Design("aimock", PEERS / "aimock", "node_modules/@copilotkit/aimock"),
    Design("mock-llm", PEERS / "mock-llm", "node_modules/@dwmkerr/mock-llm"),
    Design(SIMULATED, ROOT, flags=tuple(SIMULATION), plain_requests=False),
)

Measure = Callable[[], dict[str, Any]]
# By design and load: the figures of its cheapest round, or {"failed": why there are none}.
Found = dict[tuple[str, str], dict[str, Any]]


def environment() -> str:
    """The Python of the others' environment, made when it is not there."""
    folder = RESULTS / "peers"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "-q"]
        subprocess.run([*pip, "-r", str(PEERS / "requirements.txt")], check=True)
        subprocess.run([*pip, "--no-deps", "-r", str(PEERS / "requirements-alone.txt")], check=True)
        if shutil.which("npm"):
            shutil.copy(PEERS / "package.json", folder)
            subprocess.run(
                ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder)], check=True
            )
        (folder / "complete").touch()
    return str(python)


def missing(design: Design, python: str) -> bool:
    """Whether the environment lacks what the design needs."""
    if design.needs is None:
        return False
    folder = Path(python).parents[1]
    if design.needs.startswith("node_modules/"):
        return shutil.which("node") is None or not (folder / design.needs).is_dir()
    return not any(folder.glob(f"lib/python*/site-packages/{design.needs}"))


def measures(design: Design, python: str, seconds: float) -> dict[str, Measure]:
    """What is measured of a design, by load."""
    own = python if design.needs else None
    found: dict[str, Measure] = {
        f"{streams} streams": partial(
            measure_streaming, streams, seconds, design.folder, flags=design.flags, python=own
        )
        for streams in STREAMS
    }
    if design.plain_requests:
        found["requests"] = partial(measure_requests, seconds, design.folder, own)
    return found


def cost(figures: dict[str, Any]) -> float | None:
    """Microseconds of CPU per token or request; None when it could not be measured."""
    return figures.get("cpu_us_per_token") or figures.get("cpu_us_per_request")


def one_round(design: Design, python: str, seconds: float) -> Found:
    """Each load once."""
    found: Found = {}
    for load, measure in measures(design, python, seconds).items():
        progress(f"{design.name}, {load}")
        if missing(design, python):
            found[design.name, load] = {"failed": "not installed"}
            continue
        try:
            figures = measure()
        except (OSError, RuntimeError, TimeoutError) as error:
            print(f"{design.name}, {load}: {str(error)[-1000:]}", file=sys.stderr)
            # Of a server that ended, the last line of what it printed.
            figures = {"failed": str(error).strip().splitlines()[-1][:120]}
        if "failed" not in figures and not (figures.get("tokens_per_s") or figures.get("requests_per_s")):
            figures = {"failed": "answered nothing in the window"}
        found[design.name, load] = figures
    return found


def take_in(best: Found, found: Found) -> None:
    """Keep the cheaper figures of each, and a failure only where nothing was measured."""
    for what, figures in found.items():
        known, new = cost(best.get(what, {})), cost(figures)
        if known is None or (new is not None and new < known):
            best[what] = figures


def read(path: Path) -> Found:
    """What an earlier run has written."""
    rows = json.loads(path.read_text())
    return {(row.pop("design"), row.pop("load")): row for row in rows}


def table(best: Found) -> str:
    """Markdown; each cost also as its ratio to that of trivial Flask."""
    lines = [
        "| design | load | CPU us per token or request | of Flask's | per second | tokens/read |"
        " gap error or latency p50 / p95 / p99 ms |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(row(design, load, best) for design, load in best)])


def row(design: str, load: str, best: Found) -> str:
    """A line of the table."""
    figures = best[design, load]
    own, flask = cost(figures), cost(best.get((FLASK, load), {}))
    if own is None:
        return f"| {design} | {load} | - | - | - | - | {figures['failed']} |"
    ratio = "-" if flask is None else f"{own / flask:.2f}"
    rate = figures.get("tokens_per_s") or figures["requests_per_s"]
    times = figures.get("gap_error_ms") or figures["latency_ms"]
    reads = f"{figures['tokens_per_read']:.2f}" if "tokens_per_read" in figures else "-"
    spread = " / ".join("-" if times[name] is None else f"{times[name]:.1f}" for name in ("p50", "p95", "p99"))
    troubles = {"without an answer": figures["starved_connections"], "errors": figures["errors"]}
    notes = "".join(f", {count} {what}" for what, count in troubles.items() if count)
    return f"| {design} | {load} | {own:.1f} | {ratio} | {rate:,.0f} | {reads} | {spread}{notes} |"


def main() -> int:
    """Measure all in turns, print the table, write the file, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="DESIGN", help="those whose names contain one of these")
    parser.add_argument("--python", help="the Python of an environment that has the others")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3); 0: only what --add has")
    parser.add_argument("--measure", type=float, default=3.0, help="seconds of each window (3)")
    parser.add_argument("--add", nargs="+", type=Path, default=[], help="results of earlier runs to take in")
    parser.add_argument("--plot", type=Path, help="a PNG file to draw")
    parser.add_argument("--realtime", action="store_true", help="real-time priority, for a busy machine (root)")
    parser.add_argument("--nice", action="store_true", help="the same for percentiles of full servers (root)")
    arguments = parser.parse_args()
    python = os.path.abspath(arguments.python) if arguments.python else environment()
    allow_many_files()
    if arguments.nice:
        be_first()
    if arguments.realtime:
        take_precedence()
    wanted = [d for d in DESIGNS if not arguments.only or any(part in d.name for part in arguments.only)]
    best: Found = {}
    for _ in range(arguments.rounds):
        for design in wanted:
            take_in(best, one_round(design, python, arguments.measure))
    for path in arguments.add:
        take_in(best, read(path))
    order = [(design.name, load) for load in LOADS for design in DESIGNS]
    best = {what: best[what] for what in order if what in best}
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
