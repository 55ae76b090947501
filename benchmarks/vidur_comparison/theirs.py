"""Runs in a process of its own: vidur's simulation of some traces, with its own events and its Sarathi scheduler.

`python -m benchmarks.vidur_comparison.theirs SPEC RESULT`: SPEC is a JSON file of training.py's, with "runs"; RESULT
gets when each token of each request came, per run.
"""

import heapq
import json
import sys
from pathlib import Path
from typing import Any

from vllm_mock.engine.step_time.vidur import training


def main(spec_path: str, result_path: str) -> None:
    training.keep_out()
    spec = json.loads(Path(spec_path).read_text(encoding="utf-8"))
    predictor = training.train(spec)
    results = [_run(spec, run, predictor) for run in spec["runs"]]
    Path(result_path).write_text(json.dumps(results), encoding="utf-8")


class _NoMetrics:
    """vidur's MetricsStore, which keeps nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


def _run(spec: dict[str, Any], run: dict[str, Any], predictor: Any) -> list[list[float]]:
    from vidur.entities import Request
    from vidur.events import RequestArrivalEvent
    from vidur.events.batch_end_event import BatchEndEvent

    requests = [Request(*request) for request in run["requests"]]
    times: dict[int, list[float]] = {request.id: [] for request in requests}
    prompts = {request.id: request.num_prefill_tokens for request in requests}
    scheduler = _scheduler(spec, run, predictor)
    events: list[Any] = []
    for request in requests:
        event = RequestArrivalEvent(request.arrived_at, request)
        heapq.heappush(events, (event._priority_number, event))
    metrics = _NoMetrics()
    while events:
        _, event = heapq.heappop(events)
        for later in event.handle_event(scheduler, metrics):
            heapq.heappush(events, (later._priority_number, later))
        if isinstance(event, BatchEndEvent):
            for request in event._batch.requests:
                if request.num_processed_tokens - prompts[request.id] > len(times[request.id]):
                    times[request.id].append(event.time)
    assert all(request.completed for request in requests)
    return [times[request.id] for request in requests]


def _scheduler(spec: dict[str, Any], run: dict[str, Any], predictor: Any) -> Any:
    from vidur import config
    from vidur.entities import Cluster, Replica
    from vidur.execution_time_predictor import ExecutionTimePredictorRegistry
    from vidur.scheduler import GlobalSchedulerRegistry

    cluster = config.ClusterConfig(
        replica_config=predictor._replica_config,
        cache_config=config.CacheConfig(num_blocks=run["blocks"], watermark_blocks_fraction=0.0),
        replica_scheduler_config=config.SarathiSchedulerConfig(batch_size_cap=run["seqs"], chunk_size=run["tokens"]),
    )
    simulation = config.SimulationConfig(cluster_config=cluster, metrics_config=config.MetricsConfig())
    # One predictor for all runs; the numbers of replicas begin anew.
    ExecutionTimePredictorRegistry.get = lambda *args, **kwargs: predictor
    Replica._id = -1
    replicas = Cluster(cluster, simulation.metrics_config).replicas
    return GlobalSchedulerRegistry.get(cluster.global_scheduler_config.get_type(), simulation, replicas)


if __name__ == "__main__":
    main(*sys.argv[1:])
