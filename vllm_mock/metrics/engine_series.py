"""The page of SGLang and TensorRT-LLM: their families over the values that are counted for vLLM's."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from vllm_mock.metrics.accumulators import Histogram, Value
from vllm_mock.metrics.engine_families import EngineFamily
from vllm_mock.metrics.families import HistogramLines, Labels
from vllm_mock.metrics.page import Page, head, label_text, number

Source = Value | Histogram | Callable[[], float]


class EngineSeries:
    """One family, with the series of each of its parts."""

    def __init__(self, parts: Sequence[EngineFamily], labels: Labels, sources: Sequence[Source]) -> None:
        self._name = parts[0].name
        self._head = head(self._name, parts[0].type, parts[0].help)
        pairs = zip(parts, sources, strict=True)
        self._samples = [_samples(self._name, labels | part.labels, source) for part, source in pairs]

    def add_to(self, page: Page, created: bool) -> None:
        """Show the present values; these engines have no `_created` series."""
        page[self._name] = [*self._head, *(line for samples in self._samples for line in samples())]


def _samples(name: str, labels: Labels, source: Source) -> Callable[[], list[str]]:
    if isinstance(source, Histogram):
        return HistogramLines(name, labels, source).samples
    prefix = f"{name}{label_text(labels)} "
    if isinstance(source, Value):
        return lambda: [prefix + number(source.value)]
    return lambda: [prefix + number(source())]


def engine_series(
    families: Sequence[EngineFamily], labels: Labels, source: Callable[[str], Source]
) -> list[EngineSeries]:
    """All families of an engine; `source` finds what an EngineFamily names."""
    grouped = [list(parts) for _, parts in groupby(families, key=lambda family: family.name)]
    return [EngineSeries(parts, labels, [source(part.source) for part in parts]) for parts in grouped]


def bounds_by_source(families: Sequence[EngineFamily]) -> Mapping[str, Sequence[float]]:
    """The bounds in which an engine's histograms count, by vLLM's family."""
    return {family.source: family.buckets for family in families if family.type == "histogram"}
