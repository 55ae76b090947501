"""How long an operator's commands took; shown when there was such an operation, as by vLLM."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from vllm_mock.metrics.accumulators import Histogram
from vllm_mock.metrics.catalogue import BUCKETS, Family
from vllm_mock.metrics.families import HistogramLines, ValueSeries, add_histograms
from vllm_mock.metrics.page import Page


class Operations:
    """Measures operations by their kind, one of the values of the families' label `operation`."""

    def __init__(self, duration: Family, in_flight: Family) -> None:
        self._duration = duration
        kinds = in_flight.values["operation"]
        self._durations = {kind: Histogram(BUCKETS[duration.buckets]) for kind in kinds}
        self._lines = [
            HistogramLines(duration.name, {"operation": kind}, histogram) for kind, histogram in self._durations.items()
        ]
        self._in_flight = ValueSeries(in_flight, {})
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
            add_histograms(page, self._duration, self._lines, created)
            self._in_flight.add_to(page, created)
