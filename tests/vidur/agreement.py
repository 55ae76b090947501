"""Runs where vidur is installed: is VidurStepTime what vidur's own ExecutionTime says? Prints the worst difference."""

import json
import random
import sys
from pathlib import Path
from typing import Any

from vllm_mock.engine.step_time import Batch
from vllm_mock.engine.step_time.vidur import training
from vllm_mock.engine.step_time.vidur.source import VidurStepTime


def worst_difference(spec: dict[str, Any]) -> float:
    predictor = training.train(spec)
    ours = VidurStepTime(training.table_of(predictor, spec), "measured")
    from vidur.entities import Batch as VidurBatch  # after what is kept out

    draws = random.Random(0)
    worst = 0.0
    for _ in range(200):
        requests, context = draws.randint(0, 100), draws.randint(1, 3000)
        chunks = [
            (draws.randint(2, 900), draws.choice([0, 64, 777])) for _ in range(draws.randint(0 if requests else 1, 3))
        ]
        queries = [1] * requests + [new for new, _ in chunks]
        contexts = [context] * requests + [before for _, before in chunks]
        batch = VidurBatch(None, [None] * len(queries), queries, contexts)
        stages = range(spec["pipeline_parallel_size"])
        theirs = sum(predictor.get_execution_time(batch, stage).total_time for stage in stages)
        worst = max(worst, abs(ours.seconds(Batch(requests, requests * context, chunks)) / theirs - 1))
    return worst


training.keep_out()
print(max(worst_difference(json.loads(Path(name).read_text())) for name in sys.argv[1:]))
