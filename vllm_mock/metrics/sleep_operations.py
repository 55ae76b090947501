"""How long sleeping and waking took; shown when there was such an operation, as by vLLM."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from vllm_mock.metrics.accumulators import Histogram
from vllm_mock.metrics.catalogue import BUCKETS, SLEEP_DURATION, SLEEP_OPERATIONS, SLEEPS_IN_FLIGHT
from vllm_mock.metrics.families import HistogramLines, ValueSeries, add_histograms
from vllm_mock.metrics.page import Page


class SleepOperations:
    """Measures operations by their kind (one of SLEEP_OPERATIONS)."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._durations = {name: Histogram(BUCKETS[SLEEP_DURATION.buckets]) for name in SLEEP_OPERATIONS}
        self._lines = [
            HistogramLines(SLEEP_DURATION.name, {**labels, "operation": name}, histogram)
            for name, histogram in self._durations.items()
        ]
        self._in_flight = ValueSeries(SLEEPS_IN_FLIGHT, labels)
        self._begun = False

    @contextmanager
    def measured(self, operation: str) -> Iterator[None]:
        """Within it the operation is going on."""
        self._begun = True
        began = time.monotonic()
        self._in_flight.at(operation).value += 1
        try:
            yield
        finally:
            self._in_flight.at(operation).value -= 1
            self._durations[operation].observe(time.monotonic() - began)

    def add_to(self, page: Page, created: bool) -> None:
        """Show the operations so far."""
        if self._begun:
            add_histograms(page, SLEEP_DURATION, self._lines, created)
            self._in_flight.add_to(page, created)
