"""The series of a metric family, and the lines that show them."""

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Protocol

from vllm_mock.metrics.accumulators import Histogram, Value
from vllm_mock.metrics.catalogue import Family
from vllm_mock.metrics.page import Page, head, label_text, number

Labels = dict[str, str]


def created_series_wanted() -> bool:
    """prometheus_client's switch for the gauges that tell since when a series exists."""
    return os.environ.get("PROMETHEUS_DISABLE_CREATED_SERIES", "").lower() not in ("true", "1", "t")


class ValueSeries:
    """A family of counters or gauges; one series for each combination of label values."""

    def __init__(self, family: Family, labels: Mapping[str, str], shared: Value | None = None) -> None:
        """`shared`: the value of a family with one series that another family shows as well."""
        self.family = family
        self._values: dict[tuple[str, ...], Value] = {}
        self._name = family.name + ("_total" if family.type == "counter" else "")
        self._head = head(self._name, family.type, family.help)
        self._prefixes: list[tuple[str, Value]] = []
        created = family.name + "_created"
        self._created = head(created, "gauge", family.help)
        fixed = {label: labels[label] for label in family.labels}
        for combination in itertools.product(*family.values.values()):
            text = label_text(fixed | dict(zip(family.values, combination, strict=True)))
            value = self._values[combination] = shared or Value()
            self._prefixes.append((f"{self._name}{text} ", value))
            self._created.append(f"{created}{text} {number(value.created)}")

    def at(self, *values: str) -> Value:
        """The series with these values of the family's further labels."""
        return self._values[values]

    def add_to(self, page: Page, created: bool) -> None:
        """Show the present values."""
        page[self._name] = [*self._head, *[prefix + number(value.value) for prefix, value in self._prefixes]]
        if created and self.family.type == "counter":
            page[self.family.name + "_created"] = self._created


class HistogramSeries:
    """A family with one histogram."""

    def __init__(self, family: Family, labels: Mapping[str, str], histogram: Histogram) -> None:
        self.family = family
        self.histogram = histogram
        own = {label: labels[label] for label in family.labels}
        self._lines = [HistogramLines(family.name, own, histogram)]

    def add_to(self, page: Page, created: bool) -> None:
        """Show the present counts."""
        add_histograms(page, self.family, self._lines, created)


class HistogramLines:
    """The lines of one histogram: upper bounds as vLLM prints them (`1.0`, `0.005`, `+Inf`), count and sum."""

    def __init__(self, name: str, labels: Labels, histogram: Histogram) -> None:
        self._name = name
        self.histogram = histogram
        self._text = label_text(labels)
        bounds = (*histogram.bounds, float("inf"))
        self._prefixes = [f"{name}_bucket{label_text(labels | {'le': number(bound)})} " for bound in bounds]

    def samples(self) -> list[str]:
        """Cumulative buckets, count and sum."""
        cumulative = [number(float(count)) for _, count in self.histogram.cumulative()]
        lines = [prefix + count for prefix, count in zip(self._prefixes, cumulative, strict=True)]
        lines.append(f"{self._name}_count{self._text} {cumulative[-1]}")
        lines.append(f"{self._name}_sum{self._text} {number(self.histogram.total)}")
        return lines

    def created(self) -> str:
        """Since when it exists, in Unix seconds."""
        return f"{self._name}_created{self._text} {number(self.histogram.created)}"


def add_histograms(page: Page, family: Family, series: Sequence[HistogramLines], created: bool) -> None:
    """A family with these histograms."""
    name = family.name
    page[name] = head(name, "histogram", family.help)
    for lines in series:
        page[name] += lines.samples()
    if created:
        name += "_created"
        page[name] = head(name, "gauge", family.help) + [lines.created() for lines in series]


Series = ValueSeries | HistogramSeries


class Shown(Protocol):
    """A family on the page."""

    def add_to(self, page: Page, created: bool) -> None: ...
