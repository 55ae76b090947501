"""Measures the server: CPU per unit of work, timing of streams, start-up time and memory.

usage: python benchmarks/run.py [--only streaming requests startup memory scrapes] [--baseline] [--realtime | --nice]

Prints tables beside the reference figures and writes benchmarks/results/TIME.json.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from client import Load, client_command, run_load
from processes import FIRST, favour_session, pss_megabytes
from report import table
from scraper import Scraper
from server import RESULTS, ROOT, Server, cores

BASELINE = Path(__file__).with_name("baseline")
STREAMS = (100, 500, 1000)
INTERVAL_MS = 20.0
FIRST_TOKEN_MS = 100.0
REQUEST_CONNECTIONS = 64
REQUEST_TOKENS = 16
STARTS = 7
PARTS = ("streaming", "requests", "startup", "memory", "scrapes")
SCRAPED_STREAMS = 500
SCRAPES_PER_SECOND = 20.0

STREAM_FLAGS = [f"--time-to-first-token={FIRST_TOKEN_MS:g}ms", f"--inter-token-latency={INTERVAL_MS:g}ms"]
INSTANT_FLAGS = ["--time-to-first-token=0", "--inter-token-latency=0", "--prefill-time-per-token=0"]


def chat(max_tokens: int, *, stream: bool) -> dict[str, Any]:
    """A short chat request whose answer has exactly `max_tokens` tokens."""
    return {
        "model": "bench",
        "messages": [{"role": "user", "content": "Hello there, tell me a story"}],
        "max_tokens": max_tokens,
        "ignore_eos": True,
        "stream": stream,
    }


def measure_streaming(
    streams: int,
    measure: float,
    root: Path,
    scrapes_per_s: float = 0.0,
    flags: Sequence[str] = STREAM_FLAGS,
    python: str | None = None,
) -> dict[str, Any]:
    """Streams that outlast the window, their starts spread over two seconds: the cost of tokens alone.

    With `scrapes_per_s` /metrics is read beside them. `flags` of this server, `python` for another one.
    """
    load = Load(streams, {}, ramp=2.0, warm=1.0, measure=measure, interval_ms=INTERVAL_MS)
    tokens = int((load.seconds + 1.0) * 1000 / INTERVAL_MS)
    load.request = chat(tokens, stream=True)
    scrapes: dict[str, Any] = {}
    with Server(["--served-model-name=bench", *flags], root, python) as server:
        if scrapes_per_s:
            with Scraper(server.port, scrapes_per_s) as scraper:
                figures = run_load(server, load)
            scrapes = {"scrape_ms": scrape_times(scraper.seconds), "page_bytes": scraper.page_bytes}
        else:
            figures = run_load(server, load)
    return {
        "streams": streams,
        "tokens_per_s": figures["tokens"] / figures["seconds"],
        "cpu_us_per_token": 1e6 * figures["server_cpu"] / max(1, figures["tokens"]),
        "gap_error_ms": figures["gap_error"],
        "mean_gap_ms": figures["mean_gap"],
        "first_token_ms": figures["first_token"],
        "tokens_per_read": figures["tokens"] / max(1, figures["reads"]),
        **scrapes,
        **common(figures),
    }


def scrape_times(seconds: list[float]) -> dict[str, float]:
    """How long scrapes took, in milliseconds; they wait for their turn among the streams."""
    cuts = statistics.quantiles(seconds, n=100)
    return {f"p{percent}": 1000 * cuts[percent - 1] for percent in (50, 95, 99)}


def measure_scrapes(measure: float, root: Path) -> dict[str, Any]:
    """The same streams without scrapes and with them: what a scrape costs, and what it does to the tokens."""
    alone = measure_streaming(SCRAPED_STREAMS, measure, root)
    scraped = measure_streaming(SCRAPED_STREAMS, measure, root, SCRAPES_PER_SECOND)
    more = scraped["server_core_share"] - alone["server_core_share"]
    return {
        "scrapes_per_s": SCRAPES_PER_SECOND,
        "cpu_ms_per_scrape": 1000 * more / SCRAPES_PER_SECOND,
        "alone": alone,
        "scraped": scraped,
    }


def measure_requests(measure: float, root: Path, python: str | None = None) -> dict[str, Any]:
    """Non-streaming chat requests without any latency, 64 connections that never pause."""
    request = chat(REQUEST_TOKENS, stream=False)
    load = Load(REQUEST_CONNECTIONS, request, ramp=0.2, warm=1.0, measure=measure)
    with Server(["--served-model-name=bench", *INSTANT_FLAGS], root, python) as server:
        figures = run_load(server, load)
    return {
        "connections": REQUEST_CONNECTIONS,
        "requests_per_s": figures["completed"] / figures["seconds"],
        "cpu_us_per_request": 1e6 * figures["server_cpu"] / max(1, figures["completed"]),
        "latency_ms": figures["latency"],
        **common(figures),
    }


def common(figures: dict[str, Any]) -> dict[str, Any]:
    """What tells whether a run can be trusted."""
    return {
        "errors": figures["errors"],
        "starved_connections": figures["starved"],
        "server_core_share": figures["server_cpu"] / figures["seconds"],
        "others_on_server_core": figures["other_cpu"],
        "client_core_share": figures["client_cpu"],
    }


def measure_startup(root: Path) -> dict[str, Any]:
    """Seconds from the start of `python app.py` to the first 200 of /health and /ready: medians of several.

    One start before them warms the caches.
    """
    health, ready = [], []
    for _ in range(STARTS + 1):
        with Server(["--served-model-name=bench"], root) as server:
            health.append(server.health_seconds)
            ready.append(server.ready_seconds)
    return {"health_s": statistics.median(health[1:]), "ready_s": statistics.median(ready[1:])}


def measure_memory(root: Path) -> dict[str, Any]:
    """Memory of master and worker a second after they are ready, without any request but /health."""
    with Server(["--served-model-name=bench"], root) as server:
        time.sleep(1.0)
        each = [round(pss_megabytes([pid]), 2) for pid in server.pids]
    return {"idle_pss_mb": sum(each), "each_mb": each}


def measure(parts: list[str], seconds: float, root: Path) -> dict[str, Any]:
    """All figures of the parts asked for."""
    figures: dict[str, Any] = {"machine": machine()}
    if "startup" in parts:
        progress("start-up")
        figures["startup"] = measure_startup(root)
    if "memory" in parts:
        progress("idle memory")
        figures["memory"] = measure_memory(root)
    if "requests" in parts:
        progress("requests")
        figures["requests"] = measure_requests(seconds, root)
    if "streaming" in parts:
        figures["streaming"] = []
        for streams in STREAMS:
            progress(f"{streams} streams")
            figures["streaming"].append(measure_streaming(streams, seconds, root))
    if "scrapes" in parts:
        progress("scrapes beside streams")
        figures["scrapes"] = measure_scrapes(seconds, root)
    return figures


def measure_baseline(parts: list[str], seconds: float) -> dict[str, Any]:
    """The same for the least that Flask on gevent can do: tells a slow machine from a slow server."""
    # It has no metrics.
    figures = measure([part for part in parts if part != "scrapes"], seconds, BASELINE)
    del figures["machine"]
    return figures


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "server_and_client_core": cores(),
        "client": Path(client_command()[-1]).name,
    }


def progress(what: str) -> None:
    """Say on standard error what is being measured."""
    print(f"measuring {what} ...", file=sys.stderr, flush=True)


def take_precedence() -> None:
    """Let server and client run before everything else on their cores; their children inherit it."""
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


def be_first() -> None:
    """The same without real-time priority, of which the kernel takes away 50 ms in each second."""
    os.setpriority(os.PRIO_PROCESS, 0, FIRST)
    favour_session()


def allow_many_files() -> None:
    """A thousand connections need more descriptors than the usual soft limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> int:
    """Measure, print the table, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="measure only these")
    parser.add_argument("--measure", type=float, default=8.0, help="seconds of each window (8)")
    parser.add_argument("--tree", type=Path, default=ROOT, help="a checkout whose app.py to measure (this one)")
    parser.add_argument("--baseline", action="store_true", help="measure a trivial Flask application as well")
    parser.add_argument("--realtime", action="store_true", help="real-time priority, for a busy machine (root)")
    parser.add_argument("--nice", action="store_true", help="the same for percentiles of a full server (root)")
    arguments = parser.parse_args()
    allow_many_files()
    if arguments.nice:
        be_first()
    if arguments.realtime:
        take_precedence()
    figures = measure(arguments.only, arguments.measure, arguments.tree.resolve())
    if arguments.baseline:
        progress("the baseline")
        figures["baseline"] = measure_baseline(arguments.only, arguments.measure)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / time.strftime("%Y%m%d-%H%M%S.json")
    path.write_text(json.dumps(figures, indent=1) + "\n")
    print(table(figures))
    print(f"\nwritten to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
