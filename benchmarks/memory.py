"""Whether memory stays flat: PSS of master and worker over many requests, then over many clients that go away.

usage: python benchmarks/memory.py [--requests 200000] [--disconnects 10000]

Prints a row per tenth and writes benchmarks/results/memory-TIME.json. Ends with 1 if the last half took more than a
megabyte, or if anything was left behind: file descriptors, running or waiting requests.
"""

import argparse
import json
import socket
import sys
import time
from pathlib import Path
from typing import Any

from client import Load, http_request, run_load
from metrics_page import Page
from processes import pss_megabytes
from run import INSTANT_FLAGS, REQUEST_CONNECTIONS, REQUEST_TOKENS, allow_many_files, chat
from server import RESULTS, Server
from soak_clients import RESET_ON_CLOSE

ROWS = 10
WINDOW_SECONDS = 5.0
STREAMS_AT_ONCE = 250
ALLOWED_GROWTH_MB = 1.0

Row = dict[str, float]


def after_requests(server: Server, total: int) -> list[Row]:
    """A row for each tenth of the requests, and one before them."""
    rows = [row(server, 0)]
    load = Load(REQUEST_CONNECTIONS, chat(REQUEST_TOKENS, stream=False), ramp=0.0, warm=0.0, measure=WINDOW_SECONDS)
    done = 0
    while done < total:
        figures = run_load(server, load)
        if figures["errors"]:
            raise RuntimeError(f"{figures['errors']} requests failed")
        done += figures["completed"]
        if done >= len(rows) * total / ROWS:
            rows.append(row(server, done))
            print_row("requests", rows[-1])
    return rows


def after_disconnects(server: Server, total: int) -> list[Row]:
    """The same for streams whose clients go: before the first byte, in the middle, with FIN or RST."""
    rows = [row(server, 0)]
    request = http_request("/v1/chat/completions", chat(1000, stream=True))
    done = 0
    while done < total:
        open_and_leave(server.port, request)
        done += STREAMS_AT_ONCE
        if done >= len(rows) * total / ROWS:
            rows.append(row(server, done))
            print_row("disconnects", rows[-1])
    return rows


def open_and_leave(port: int, request: bytes) -> None:
    """As many streams at once, cut off in four ways."""
    connections = [socket.create_connection(("127.0.0.1", port), timeout=30.0) for _ in range(STREAMS_AT_ONCE)]
    for connection in connections:
        connection.sendall(request)
    for number, connection in enumerate(connections):
        if number % 2:
            connection.recv(4096)
        if number % 4 < 2:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        connection.close()


def row(server: Server, done: int) -> Row:
    """What the server has when it has come to rest."""
    deadline = time.monotonic() + 30.0
    while (left := in_flight(server.port)) and time.monotonic() < deadline:
        time.sleep(0.1)
    # Connections that were closed are noticed within a fifth of a second.
    time.sleep(0.5)
    descriptors = sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in server.pids)
    return {"done": done, "pss_mb": pss_megabytes(server.pids), "descriptors": descriptors, "in_flight": left}


def in_flight(port: int) -> float:
    """Requests that run or wait, by the server's own account."""
    page = Page(port)
    return page.total("vllm:num_requests_running") + page.total("vllm:num_requests_waiting")


def print_row(what: str, found: Row) -> None:
    print(
        f"{found['done']:>8.0f} {what:<12} PSS {found['pss_mb']:6.1f} MB   "
        f"{found['descriptors']:.0f} descriptors   {found['in_flight']:.0f} in flight",
        flush=True,
    )


def complaints(rows: list[Row]) -> list[str]:
    """What is not as it should be at the end."""
    half, last = rows[len(rows) // 2], rows[-1]
    found = []
    if last["pss_mb"] > half["pss_mb"] + ALLOWED_GROWTH_MB:
        found.append(f"the last half took {last['pss_mb'] - half['pss_mb']:.1f} MB")
    if last["descriptors"] > half["descriptors"]:
        found.append(f"{last['descriptors'] - half['descriptors']:.0f} file descriptors were left behind")
    if last["in_flight"]:
        found.append(f"{last['in_flight']:.0f} requests are still in flight")
    return found


def main() -> int:
    """Measure, print, write the JSON file; the exit code says whether memory was flat."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=200_000, help="whole answers (200,000)")
    parser.add_argument("--disconnects", type=int, default=10_000, help="streams that are cut off (10,000)")
    arguments = parser.parse_args()
    allow_many_files()
    figures: dict[str, Any] = {}
    with Server(["--served-model-name=bench", *INSTANT_FLAGS]) as server:
        figures["requests"] = after_requests(server, arguments.requests)
    with Server(["--served-model-name=bench", "--time-to-first-token=50ms", "--inter-token-latency=5ms"]) as server:
        figures["disconnects"] = after_disconnects(server, arguments.disconnects)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / time.strftime("memory-%Y%m%d-%H%M%S.json")).write_text(json.dumps(figures, indent=1) + "\n")
    found = [f"{what}: {complaint}" for what, rows in figures.items() for complaint in complaints(rows)]
    print("\n".join(found) or "flat")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
