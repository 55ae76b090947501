"""Measures what a simulation costs: a step, streams in wall-clock time, and memory over many requests.

usage: python benchmarks/simulator.py [--only steps streams memory] [--realtime]

Prints what it finds and writes benchmarks/results/simulator.json.
"""

import argparse
import json
import sys
import time
from typing import Any

from client import Load, run_load
from metrics_page import Page
from processes import pss_megabytes
from run import take_precedence
from server import RESULTS, ROOT, Server

sys.path.insert(0, str(ROOT))

DEVICE, MODEL = "h100", "meta-llama/Llama-3.1-8B-Instruct"
SIMULATION = ["--replica-config-device", DEVICE, "--model", MODEL, "--step-time", "roofline"]
# With 256 sequences, a step of it takes about 10 ms.
FAST_MODEL = "meta-llama/Llama-3.2-3B-Instruct"
FAST = ["--replica-config-device", "b200", "--model", FAST_MODEL, "--step-time", "roofline"]
BATCHES = (1, 64, 256, 1024)
STEPS = 1000
STREAMS = 256
REQUESTS = 50_000
PARTS = ("steps", "streams", "memory")


def measure_step(batch: int, prefilling: bool) -> float:
    """Microseconds of CPU per step of `batch` sequences: scheduling, step time, KV blocks and metrics.

    `prefilling`: a sequence ends and another one begins in each step, with a prompt of 512 tokens that is hashed.
    """
    from vllm_mock.engine import EngineRequest
    from vllm_mock.engine.scheduler import Scheduler
    from vllm_mock.engine.simulated import SimulatedGPU, SimulatedHandle
    from vllm_mock.engine.step_time import step_time
    from vllm_mock.metrics import Metrics
    from vllm_mock.settings import load

    settings = load([*SIMULATION, "--max-num-seqs", str(batch), "--num-gpu-blocks-override", "400000"], {})
    scheduler = Scheduler(settings)
    gpu = SimulatedGPU(settings, scheduler, step_time(settings), Metrics(settings), _raise)
    length, prompt = (batch, 512) if prefilling else (10 * STEPS, 100)

    def submit(number: int) -> None:
        ids = range(number << 20, (number << 20) + prompt)
        # So many tokens are left that one of the first `batch` ends in each step.
        tokens = number + 2 if prefilling and number < batch else length
        request = EngineRequest(str(number), ids, range(tokens), tokens, arrival=1.0)
        handle = SimulatedHandle(None, request, scheduler.prompt_hashes(request))
        handle.queued = 1.0
        scheduler.queue(handle)

    for number in range(batch):
        submit(number)
    gpu.launch(1.0)
    while len(scheduler.waiting):
        gpu.advance(gpu.next_event)
    begin = time.process_time()
    for step in range(STEPS):
        if prefilling:
            submit(batch + step)
        gpu.advance(gpu.next_event)
    return 1e6 * (time.process_time() - begin) / STEPS


def _raise(error: Exception) -> None:
    raise error


def chat(model: str, max_tokens: int, *, stream: bool) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Hello there, tell me a story"}]
    return {"model": model, "messages": messages, "max_tokens": max_tokens, "ignore_eos": True, "stream": stream}


def measure_streams() -> dict[str, Any]:
    """256 streams that outlast the window, at steps of about 10 ms."""
    load = Load(STREAMS, chat(FAST_MODEL, 2000, stream=True), ramp=2.0, warm=1.0, measure=6.0, interval_ms=10.0)
    with Server([*FAST, "--max-num-seqs", str(STREAMS)]) as server:
        figures = run_load(server, load)
        page = Page(server.port)
    return {
        "streams": STREAMS,
        "step_ms": figures["mean_gap"],
        "tokens_per_s": figures["tokens"] / figures["seconds"],
        "cpu_us_per_token": 1e6 * figures["server_cpu"] / max(1, figures["tokens"]),
        "core_share": figures["server_cpu"] / figures["seconds"],
        "others_on_server_core": figures["other_cpu"],
        "tokens_per_read": figures["tokens"] / max(1, figures["reads"]),
        "worst_step_lag_ms": 1000 * page.total("vllm_mock:simulator_lag_seconds"),
        "worst_token_lag_ms": 1000 * page.total("vllm_mock:stream_lag_seconds"),
        "errors": figures["errors"],
    }


def measure_memory() -> dict[str, Any]:
    """PSS of master and worker after every ten thousand whole answers of 16 tokens."""
    flags = [*SIMULATION, "--max-num-seqs", "64", "--time-scale", "20"]
    found: dict[str, float] = {}
    with Server(flags) as server:
        total = 0.0
        while total < REQUESTS:
            run_load(server, Load(64, chat(MODEL, 16, stream=False), ramp=0.1, warm=0.0, measure=4.0))
            total = Page(server.port).total("vllm:request_generation_tokens_count")
            if total >= 10_000 * (len(found) + 1):
                found[f"{total:.0f}"] = pss_megabytes(server.pids)
    return {"pss_mb_after_requests": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--realtime", action="store_true", help="as for run.py")
    options = parser.parse_args()
    parts = options.only
    if options.realtime:
        take_precedence()
    figures: dict[str, Any] = {}
    if "steps" in parts:
        figures["step_us"] = {str(batch): measure_step(batch, False) for batch in BATCHES}
        figures["busy_step_us"] = {str(batch): measure_step(batch, True) for batch in BATCHES[1:]}
    if "streams" in parts:
        figures["streams"] = measure_streams()
    if "memory" in parts:
        figures["memory"] = measure_memory()
    print(json.dumps(figures, indent=2))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "simulator.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
