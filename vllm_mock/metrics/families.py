"""The series of a metric family, and their samples for prometheus_client."""

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client.core import Metric
from prometheus_client.utils import floatToGoString

from vllm_mock.metrics.accumulators import Histogram, Value
from vllm_mock.metrics.catalogue import Family

Labels = dict[str, str]


def created_series_wanted() -> bool:
    """prometheus_client's switch for the gauges that tell since when a series exists."""
    return os.environ.get("PROMETHEUS_DISABLE_CREATED_SERIES", "").lower() not in ("true", "1", "t")


class ValueSeries:
    """A family of counters or gauges; one series for each combination of label values."""

    def __init__(self, family: Family, labels: Mapping[str, str]) -> None:
        self.family = family
        self._series: dict[tuple[str, ...], tuple[Labels, Value]] = {}
        fixed = {label: labels[label] for label in family.labels}
        for combination in itertools.product(*family.values.values()):
            further = dict(zip(family.values, combination, strict=True))
            self._series[combination] = (fixed | further, Value())

    def at(self, *values: str) -> Value:
        """The series with these values of the family's further labels."""
        return self._series[values][1]

    def metric(self, created: bool) -> Metric:
        """The present values."""
        family = self.family
        metric = Metric(family.name, family.help, family.type)
        suffix = "_total" if family.type == "counter" else ""
        for labels, value in self._series.values():
            metric.add_sample(family.name + suffix, labels, value.value)
        if created and family.type == "counter":
            for labels, value in self._series.values():
                metric.add_sample(family.name + "_created", labels, value.created)
        return metric


class HistogramSeries:
    """A family with one histogram."""

    def __init__(self, family: Family, labels: Mapping[str, str], bounds: Sequence[float]) -> None:
        self.family = family
        self.histogram = Histogram(bounds)
        self._labels = {label: labels[label] for label in family.labels}
        self._bucket_labels = bucket_labels(self._labels, self.histogram)

    def metric(self, created: bool) -> Metric:
        """The present counts."""
        metric = Metric(self.family.name, self.family.help, self.family.type)
        add_histogram(metric, self._labels, self._bucket_labels, self.histogram)
        if created:
            metric.add_sample(self.family.name + "_created", self._labels, self.histogram.created)
        return metric


def bucket_labels(labels: Labels, histogram: Histogram) -> list[Labels]:
    """The labels of each bucket, as vLLM prints upper bounds (`1.0`, `0.005`, `+Inf`)."""
    return [labels | {"le": floatToGoString(bound)} for bound in (*histogram.bounds, float("inf"))]


def add_histogram(metric: Metric, labels: Labels, le_labels: Sequence[Labels], histogram: Histogram) -> None:
    """Adds a histogram's cumulative buckets, count and sum."""
    cumulative = list(itertools.accumulate(histogram.counts))
    for le, count in zip(le_labels, cumulative, strict=True):
        metric.add_sample(metric.name + "_bucket", le, count)
    metric.add_sample(metric.name + "_count", labels, cumulative[-1])
    metric.add_sample(metric.name + "_sum", labels, histogram.total)


class MetricSource:
    """What prometheus_client collects from: a function that yields metrics."""

    def __init__(self, metrics: Callable[[], Iterator[Metric]]) -> None:
        self.collect = metrics

    def describe(self) -> list[Metric]:
        """Nothing: names cannot collide, and registering must not need an engine."""
        return []
