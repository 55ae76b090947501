"""Metrics: the observer of the engine, and the page that /metrics shows."""

from collections.abc import Callable
from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from vllm_mock.engine import RequestHandle
from vllm_mock.metrics.accumulators import Histogram, Value, WorstOf
from vllm_mock.metrics.cache_config import CACHE_CONFIG, cache_config_series
from vllm_mock.metrics.catalogue import (
    BUCKETS,
    STREAM_LAG,
    VLLM_FAMILIES,
    request_token_buckets,
)
from vllm_mock.metrics.families import HistogramSeries, Series, ValueSeries, add_all, created_series_wanted
from vllm_mock.metrics.http import HttpMetrics
from vllm_mock.metrics.page import Page, parse, to_bytes
from vllm_mock.metrics.traffic import Traffic
from vllm_mock.settings import Settings

LAG_WINDOW_SECONDS = 10


class MeasuredEngine(Protocol):
    """What a scrape reads from an engine."""

    @property
    def running(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def kv_cache_usage(self) -> float: ...
    def advance(self, each_running: Callable[[RequestHandle, float], None]) -> None: ...


class Metrics:
    """All families of one engine; attach the engine before the first scrape.

    It is the engine's EngineObserver (scheduled, finished, aborted, rejected). `record_lag(seconds)`
    takes how late a token was sent; `http` counts requests by route.
    """

    def __init__(self, settings: Settings, rank: int = 0) -> None:
        """`rank` is the data-parallel rank, vLLM's label `engine`."""
        labels = {"model_name": settings.served_model_name[0], "engine": str(rank)}
        buckets = BUCKETS | {"request_tokens": request_token_buckets(settings.max_model_len)}
        buckets |= {group: tuple(bounds) for group, bounds in settings.custom_histogram_buckets.items()}
        self._series: dict[str, Series] = {}
        for family in (*VLLM_FAMILIES, STREAM_LAG):
            if family.type == "histogram":
                self._series[family.name] = HistogramSeries(family, labels, Histogram(buckets[family.buckets]))
            else:
                self._series[family.name] = ValueSeries(family, labels)
        self._series[CACHE_CONFIG] = cache_config_series(settings, labels["engine"])
        self.value("vllm:engine_sleep_state", "awake").value = 1
        self._traffic = Traffic(self.value, self.histogram, settings.enable_prefix_caching)
        self.scheduled = self._traffic.scheduled
        self.finished = self._traffic.finished
        self.aborted = self._traffic.aborted
        self.rejected = self._traffic.rejected
        self._lag = WorstOf(LAG_WINDOW_SECONDS)
        self.record_lag = self._lag.record
        self.http = HttpMetrics()
        self._shown = [self._series[STREAM_LAG.name]] if settings.disable_log_stats else list(self._series.values())
        self._engine: MeasuredEngine | None = None
        self._process = _process_registry()

    def attach(self, engine: MeasuredEngine) -> None:
        """The engine whose state the gauges show."""
        self._engine = engine

    def value(self, family: str, *labels: str) -> Value:
        """The series of a counter or gauge, by family name and values of the family's further labels."""
        series = self._series[family]
        assert isinstance(series, ValueSeries)
        return series.at(*labels)

    def histogram(self, family: str) -> Histogram:
        """The histogram of a family."""
        series = self._series[family]
        assert isinstance(series, HistogramSeries)
        return series.histogram

    def render(self) -> bytes:
        """The page in Prometheus' text format."""
        return to_bytes(self.page())

    def page(self) -> Page:
        """This worker's families with their present values."""
        self._read_engine()
        self.value(STREAM_LAG.name).value = self._lag.worst()
        created = created_series_wanted()
        page = parse(generate_latest(self._process).decode())
        add_all(page, self._shown, created)
        self.http.add_to(page, created)
        return page

    def _read_engine(self) -> None:
        engine = self._engine
        if engine is None:
            return
        engine.advance(self._traffic.progress)
        waiting = engine.waiting
        self.value("vllm:num_requests_running").value = engine.running
        self.value("vllm:num_requests_waiting").value = waiting
        self.value("vllm:num_requests_waiting_by_reason", "capacity").value = waiting
        self.value("vllm:kv_cache_usage_perc").value = engine.kv_cache_usage


def _process_registry() -> CollectorRegistry:
    """What prometheus_client tells of a Python process."""
    registry = CollectorRegistry()
    GCCollector(registry)
    PlatformCollector(registry)
    ProcessCollector(registry=registry)
    return registry
