"""The roofline's times of steps against those that vidur's predictor learnt from its profiles, and what both cost."""

import random
import statistics
import timeit
from collections.abc import Iterable, Iterator

from vllm_mock.engine.step_time import Batch, StepTime
from vllm_mock.engine.step_time.roofline import Host, Roofline, roofline, simulated_terms
from vllm_mock.engine.step_time.vidur.source import VidurStepTime
from vllm_mock.engine.step_time.vidur.table import StepTable
from vllm_mock.settings import Settings


def compare_steps(settings: Settings, table: StepTable) -> str:
    """A table in Markdown: how far the roofline is from vidur, by kind of step. Layers alone, as vidur has them."""
    terms = simulated_terms(settings)
    terms.head_read = terms.head = 0.0
    ours, theirs = Roofline(terms, Host(0.0, 0.0, 0.0)), VidurStepTime(table, "measured")
    kinds = {"decoding": _decoding(table), "a prompt": _prompts(table), "mixed": _mixed(table)}
    everything: list[float] = []
    lines = ["| steps | number | median error | p95 | bias |", "| --- | --: | --: | --: | --: |"]
    for kind, batches in kinds.items():
        errors = [ours.seconds(batch) / theirs.seconds(batch) - 1 for batch in batches]
        everything += errors
        lines.append(_line(kind, errors))
    return "\n".join([*lines, _line("all", everything)])


def costs(settings: Settings, table: StepTable) -> str:
    """A table in Markdown: the CPU's microseconds to find the time of a step of 256 decoding sequences."""
    sources = {"vidur": VidurStepTime(table, "measured", simulated_terms(settings)), "roofline": roofline(settings)}
    lines = ["| a step of 256 requests costs | with no prompt | with 16 |", "| --- | --: | --: |"]
    for name, source in sources.items():
        times = [_microseconds(source, Batch(256, 256 * 1024, [(128, 0)] * prompts)) for prompts in (0, 16)]
        lines.append(f"| {name} | {times[0]:.1f} us | {times[1]:.1f} us |")
    return "\n".join(lines)


def _microseconds(source: StepTime, batch: Batch) -> float:
    return min(timeit.repeat(lambda: source.seconds(batch), number=2000, repeat=5)) / 2000 * 1e6


def _line(kind: str, errors: list[float]) -> str:
    far = sorted(map(abs, errors))
    middle, worst = statistics.median(far), far[int(0.95 * len(far))]
    return f"| {kind} | {len(errors)} | {middle:.1%} | {worst:.1%} | {statistics.median(errors):+.1%} |"


def _decoding(table: StepTable) -> Iterator[Batch]:
    for requests in _powers(1, table.most_requests):
        for context in (32, *_powers(128, table.most_context)):
            yield Batch(requests, requests * context)


def _prompts(table: StepTable) -> Iterator[Batch]:
    for tokens in _powers(32, min(table.most_tokens, 32 * len(table.prefill[0]))):
        for before in (0, 512, 2048):
            yield Batch(0, 0, [(tokens, before)])


def _mixed(table: StepTable) -> Iterator[Batch]:
    """Half of them with a prompt."""
    draws = random.Random(0)
    longest = min(2048, 32 * len(table.prefill[0]))
    for number in range(500):
        requests = int(_between(draws, 1, table.most_requests))
        context = int(requests * _between(draws, 32, table.most_context))
        prompt = (int(_between(draws, 32, longest)), draws.choice((0, 0, 512, 1024)))
        yield Batch(requests, context, [prompt] if number % 2 else [])


def _between(draws: random.Random, low: float, high: float) -> float:
    """Any size is as likely as its double."""
    return low * (high / low) ** draws.random()


def _powers(low: int, high: int) -> Iterable[int]:
    size = low
    while size <= high:
        yield size
        size *= 2
