"""Mixed traffic for a long time, and then the question whether anything was lost: python benchmarks/soak.py.

Streams, answers in one piece, clients that leave, bad input, scrapes, LoRA adapters, overrides and faults, all at once
against two workers. Afterwards nothing may run, wait or hold KV blocks, file descriptors and threads are what they
were, memory has not grown in the second half, and the counters are what the clients saw. Exit code 1 if
not. Linux only.
"""

import argparse
import json
import os
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metrics_page import Page
from processes import family, pss_megabytes
from server import RESULTS, ROOT, Server
from soak_clients import CHAT, LARGEST_BODY, Book, Client

FLAGS = [
    *("--tokenizer", str(ROOT / "tests/fixtures/char_tokenizer"), "--served-model-name", "tiny"),
    *("--max-model-len", "2048", "--max-num-seqs", "16", "--data-parallel-size", "2", "--metrics-mode", "live"),
    *("--time-to-first-token", "20ms", "--inter-token-latency", "5ms"),
    *("--enable-lora", "--enable-server-load-tracking"),
    # A prefix cache that is full after the warm-up; 65,536 blocks would fill for the whole time, with 20 MB in the end.
    *("--num-gpu-blocks-override", "1024"),
    *("--max-request-bytes", str(LARGEST_BODY), "--request-read-timeout", "5", "--response-write-timeout", "5"),
]
# Keep-alive connections have ended by then, and those who left are noticed.
REST_SECONDS = 8.0
WARM_UP_SECONDS = 20.0
# In the second half; in the first one caches fill.
MEMORY_GROWTH = 0.05


@dataclass
class State:
    """What the processes hold."""

    pids: list[int]
    descriptors: int
    threads: int
    megabytes: float


@dataclass
class Check:
    """One line of the report."""

    what: str
    expected: str
    found: str
    good: bool


def state(pids: list[int]) -> State:
    """Descriptors and threads of all processes, and their memory."""
    threads = 0
    for pid in pids:
        status = Path(f"/proc/{pid}/status").read_text()
        threads += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("Threads:"))
    return State(pids, sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids), threads, pss_megabytes(pids))


def load(port: int, book: Book, clients: int, seconds: float, seed: int) -> None:
    """Let so many clients act for so long."""
    until = time.monotonic() + seconds
    crowd = [Client(port, book, seed + number) for number in range(clients)]
    threads = [threading.Thread(target=client.run, args=(until,)) for client in crowd]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def equal(what: str, expected: float, found: float) -> Check:
    """They must be the same."""
    return Check(what, f"{expected:g}", f"{found:g}", expected == found)


def between(what: str, low: float, found: float, high: float) -> Check:
    """What clients that left cannot know leaves a range."""
    return Check(what, f"{low:g} to {high:g}", f"{found:g}", low <= found <= high)


def checks(
    before: Page, after: Page, book: Book, began: State, ended: State, flying: int, new_threads: int
) -> Iterator[Check]:
    """All that must hold at the end; so many threads more may be there than at the beginning."""
    seen = book.counts

    def rise(name: str, *labels: str) -> float:
        return after.total(name, *labels) - before.total(name, *labels)

    yield equal("requests running", 0, after.total("vllm:num_requests_running"))
    yield equal("requests waiting", 0, after.total("vllm:num_requests_waiting"))
    yield equal("KV cache in use", 0, after.total("vllm:kv_cache_usage_perc"))
    yield equal("requests in flight (GET /load)", 0, flying)
    yield equal("file descriptors of all processes", began.descriptors, ended.descriptors)
    yield between("threads of all processes", 0, ended.threads, began.threads + new_threads)
    yield equal("workers that were replaced", 0, len(set(began.pids) ^ set(ended.pids)) / 2)
    most = began.megabytes * (1 + MEMORY_GROWTH)
    yield between("memory (PSS, MB)", 0, round(ended.megabytes, 1), round(most, 1))
    done = rise("vllm:request_success_total", '"stop"') + rise("vllm:request_success_total", '"length"')
    aborted = rise("vllm:request_success_total", '"abort"')
    completed, left = seen["completed"], seen["left"]
    yield between("sequences that ended by themselves", completed, done, completed + left)
    yield between("the same and those aborted", completed, done + aborted, completed + left)
    yield equal("sequences that ended with an error", 0, rise("vllm:request_success_total", '"error"'))
    tokens = seen["completed_tokens"]
    yield between("generated tokens", tokens, rise("vllm:generation_tokens_total"), tokens + seen["left_tokens"])
    prompts = seen["prompt_tokens"]
    yield between("prompt tokens", prompts, rise("vllm:prompt_tokens_total"), prompts + book.longest_prompt * left)
    for (path, hundred), count in sorted(book.answers.items()):
        handler = f'handler="{path}"'
        if hundred != 2 or path != CHAT:
            yield from _answers(path, hundred, count, rise("http_requests_total", handler, f'status="{hundred}xx"'))
    good = book.answers[CHAT, 2]
    found = rise("http_requests_total", f'handler="{CHAT}"', 'status="2xx"')
    yield between(f"200 from {CHAT}", good, found, good + left)
    yield equal("too large", seen["too_large"], rise("vllm_mock:dropped_connections_total", '"too_large"'))
    yield equal("surprises of the clients", 0, len(book.surprises))


# Not counted in http_requests_total, as in vLLM, or under a name with a variable.
UNCOUNTED = ("/metrics", "/health", "/load", "/v1/load_lora_adapter", "/mock/faults/")


def _answers(path: str, hundred: int, count: int, found: float) -> Iterator[Check]:
    if not path.startswith(UNCOUNTED):
        yield equal(f"{hundred}xx from {path}", count, found)


def fetch(port: int, path: str, method: str = "GET") -> Any:
    """The JSON of an answer."""
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)) as answer:
        return json.loads(answer.read())


def at_rest(server: Server) -> State:
    """What is held when nobody asks for anything."""
    fetch(server.port, "/set_metrics", "DELETE")
    time.sleep(REST_SECONDS)
    return state(server.pids)


def soak(seconds: float, clients: int, seed: int, threads: int) -> tuple[list[Check], Book]:
    """The whole of it; `threads` for each worker of gunicorn's threaded class, 0 for the default class."""
    book = Book()
    with Server(FLAGS, gunicorn=f"-k gthread --threads {threads}" if threads else "") as server:
        # On all cores: this is not about speed.
        for pid in family(server.pids[0]):
            os.sched_setaffinity(pid, os.sched_getaffinity(0))
        load(server.port, Book(), clients, WARM_UP_SECONDS, seed + 1_000_000)
        began = at_rest(server)
        before = Page(server.port)
        load(server.port, book, clients, seconds / 2, seed)
        began.megabytes = pss_megabytes(server.pids)
        load(server.port, book, clients, seconds / 2, seed + clients)
        ended = at_rest(server)
        book.answered("/set_metrics", 200)
        flying = fetch(server.port, "/load")["server_load"]
        # Threads come one by one, as they are needed, and stay.
        found = list(checks(before, Page(server.port), book, began, ended, flying, 2 * threads))
    return found, book


def report(found: list[Check], book: Book, seconds: float, clients: int) -> str:
    """The result in Markdown."""
    lines = [f"{seconds / 60:g} minutes, {clients} clients: " + ", ".join(f"{n} {c}" for n, c in book.counts.items())]
    lines += ["", "| what | expected | found | |", "|---|---|---|---|"]
    lines += [f"| {c.what} | {c.expected} | {c.found} | {'ok' if c.good else '**wrong**'} |" for c in found]
    lines += ["", *[f"- {text}" for text in book.surprises[:20]]]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--duration", type=float, default=30.0, help="minutes")
    parser.add_argument("--clients", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="per worker, for gunicorn's threaded class; 0: gevent")
    arguments = parser.parse_args()
    found, book = soak(arguments.duration * 60, arguments.clients, arguments.seed, arguments.threads)
    text = report(found, book, arguments.duration * 60, arguments.clients)
    print(text)
    (RESULTS / ("soak-gthread.md" if arguments.threads else "soak.md")).write_text(text + "\n")
    return 0 if all(check.good for check in found) else 1


if __name__ == "__main__":
    sys.exit(main())
