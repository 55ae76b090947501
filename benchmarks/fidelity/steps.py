"""The steps of a Row's load: simulated once, so that a fit finds their times without simulating again.

The steps are those of the constants in use: what a step holds hardly depends on how long it takes, since all requests
are there at once.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.fidelity.rows import Row
from benchmarks.fidelity.workload import requests, server, waves
from vllm_mock.engine.step_time.base import Origin
from vllm_mock.engine.step_time.batch import Batch
from vllm_mock.engine.step_time.model import SimulatedModel, simulated_model
from vllm_mock.engine.step_time.roofline import Host
from vllm_mock.engine.step_time.terms import Terms
from vllm_mock.settings import Settings
from vllm_mock.simulate import simulate

Array = Any  # numpy's; it is no requirement of the product

# Steps with prompts that are kept of a row; the others' weight is spread over them.
_MOST_MIXED = 300


@dataclass(frozen=True, slots=True)
class Steps:
    """Kinds of steps, an array each. decodes, context: requests that decode, and the tokens of their KV caches.
    new, pairs, prompts: of prompts the tokens, the pairs of tokens that attend, and the chunks. tpot, ttft: how much of
    the mean TPOT and TTFT one second of such steps is.
    """

    decodes: Array
    context: Array
    new: Array
    pairs: Array
    prompts: Array
    tpot: Array
    ttft: Array

    def seconds(self, terms: Terms, host: Host) -> Array:
        """Their times by the formula of Roofline."""
        tokens = self.decodes + self.new
        sequences = self.decodes + self.prompts
        found = terms.layers + terms.all_reduces + host.step + sequences * host.sequence
        found = found + _longer(
            terms.read + terms.head_read, tokens * terms.token + sequences * terms.head, terms.sharpness
        )
        if terms.expert_read:
            touched = 1 - terms.untouched**tokens
            read = terms.expert_read * touched**terms.expert_spread
            found = found + _longer(read, tokens * terms.expert_token, terms.expert_sharpness) + touched * terms.experts
        found = found + self.decodes * terms.sequence + tokens * (terms.passes + terms.all_reduce_token)
        found = found + self.context * terms.context
        found = found + np.minimum(self.context, self.decodes * terms.window) * terms.window_context
        seen = np.minimum(self.pairs / np.maximum(self.new, 1), terms.window)
        prefill = terms.prefill + host.prefill + self.pairs * terms.pair + self.new * seen * terms.window_pair
        return found + np.where(self.prompts > 0, prefill, 0.0)


def _longer(one: Array, other: Array, sharpness: float) -> Array:
    return (one**sharpness + other**sharpness) ** (1 / sharpness)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A row with its steps, and what their times depend on besides. asynchronous: scheduling."""

    row: Row
    model: SimulatedModel
    asynchronous: bool
    steps: Steps


class _Recorder:
    """Step times of one second each, so that times count steps."""

    name = "recorder"
    origin: Origin = "analytic"

    def __init__(self) -> None:
        self.batches: list[tuple[int, int, tuple[tuple[int, int], ...]]] = []

    def seconds(self, batch: Batch) -> float:
        self.batches.append((batch.decode_requests, batch.decode_context_tokens, tuple(batch.prefills)))
        return 1.0


def record(row: Row) -> Recorded:
    """The steps of a row's load; SettingsError where it cannot be simulated.

    Without a frontend, and each scheduled when the last one has ended: what is different, the fit adds.
    """
    settings, recorder = server(row, "roofline"), _Recorder()
    in_turn = Settings(**{**vars(settings), "async_scheduling": False, "frontend_latency": 0.0})
    results = simulate(requests(row), in_turn, recorder, concurrency=row.concurrency)
    tpot, ttft = _shares(row, results, len(recorder.batches))
    steps = _merged(recorder.batches, tpot, ttft)
    return Recorded(row, simulated_model(settings), settings.async_scheduling, steps)


def _shares(row: Row, results: Any, count: int) -> tuple[Array, Array]:
    """How much of the mean TPOT and TTFT each of `count` steps is."""
    tpot, ttft = np.zeros(count + 2), np.zeros(count + 2)
    for number, result in enumerate(results):
        weight = waves(row)[number // row.concurrency] / row.concurrency
        first, last = round(result.token_times[0]), round(result.token_times[-1])
        ttft[round(result.arrival)] += weight
        ttft[first] -= weight
        if (tokens := len(result.token_times) - 1) > 0:
            tpot[first] += weight / tokens
            tpot[last] -= weight / tokens
    return np.cumsum(tpot)[:count], np.cumsum(ttft)[:count]


def _merged(batches: list[Any], tpot: Array, ttft: Array) -> Steps:
    """Steps without prompts by how many decode, and some of those with prompts."""
    alone: dict[int, Array] = {}
    mixed: list[Array] = []
    for (decodes, context, prefills), share, first in zip(batches, tpot, ttft, strict=True):
        if share < 1e-12 and first < 1e-12:
            continue
        new = sum(tokens for tokens, _ in prefills)
        pairs = sum(tokens * (before + tokens / 2) for tokens, before in prefills)
        step = np.array([decodes, context, new, pairs, len(prefills), share, first])
        if prefills:
            mixed.append(step)
        else:
            # Averaged by their share of TPOT, or of TTFT where they have none.
            weight = share + 1e-9 * first
            alone.setdefault(decodes, np.zeros(8))
            alone[decodes] += np.array([*(weight * step[:5]), share, first, weight])
    rows = [np.array([*(found[:5] / found[7]), *found[5:7]]) for found in alone.values()]
    return Steps(*np.array([*rows, *_some(mixed)]).T)


def _some(mixed: list[Array]) -> list[Array]:
    """Every so many of them, with the weight of all."""
    chosen = [step.copy() for step in mixed[:: max(1, len(mixed) // _MOST_MIXED)]]
    for column in (5, 6):
        whole, kept = sum(step[column] for step in mixed), sum(step[column] for step in chosen)
        for step in chosen:
            step[column] *= whole / max(kept, 1e-12)
    return chosen
