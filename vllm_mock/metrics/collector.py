"""Metrics: the observer of the engine, and what one worker shows on the page of /metrics."""

from collections.abc import Callable, Mapping, Sequence

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from vllm_mock.engine import Engine
from vllm_mock.engine.observer import NullObserver
from vllm_mock.metrics.accumulators import Histogram, Value, WorstOf
from vllm_mock.metrics.cache_config import CACHE_CONFIG, cache_config_series
from vllm_mock.metrics.catalogue import (
    BUCKETS,
    DROPPED,
    KV_FETCH,
    KV_RESIDENCY,
    LEGACY_FAMILIES,
    SAME_AS,
    SIMULATION_INFO,
    SIMULATOR_LAG,
    SLEEP_DURATION,
    SLEEPS_IN_FLIGHT,
    STREAM_LAG,
    TOOL_CALL_PARSER,
    VLLM_FAMILIES,
    WEIGHT_DURATION,
    WEIGHTS_IN_FLIGHT,
    Family,
    request_token_buckets,
)
from vllm_mock.metrics.engine_families import ENGINES, engine_labels
from vllm_mock.metrics.engine_series import Source, bounds_by_source, engine_series
from vllm_mock.metrics.families import HistogramSeries, Series, Shown, ValueSeries, created_series_wanted
from vllm_mock.metrics.http import HttpMetrics
from vllm_mock.metrics.kv_residency import residency_observer
from vllm_mock.metrics.lora_info import LoRAInfo
from vllm_mock.metrics.operations import Operations
from vllm_mock.metrics.page import Page, parse, to_bytes
from vllm_mock.metrics.traffic import Traffic
from vllm_mock.settings import Settings

LAG_WINDOW_SECONDS = 10


class Metrics:
    """All families of one engine; attach the engine before the first scrape.

    `sleep_operations` and `weight_operations` take what an operator does.
    It is the engine's EngineObserver, with the methods of Traffic and `late`. `record_lag(seconds)`
    takes how late a token was sent; `http` counts requests by route.
    """

    def __init__(
        self, settings: Settings, rank: int = 0, ranks: int = 1, simulation: Mapping[str, str] | None = None
    ) -> None:
        """`rank` is the data-parallel rank, vLLM's label `engine`, of `ranks`.

        `simulation`: the labels device, step_time and origin, if the engine is a simulated one.
        """
        self._settings = settings
        self._labels = {"model_name": settings.served_model_name[0], "engine": str(rank)}
        self._capacity = settings.num_gpu_blocks * settings.block_size
        self._other_engine = ENGINES.get(settings.llm_engine, ())
        self._bounds = {**_bounds(settings), **bounds_by_source(self._other_engine)}
        self._series: dict[str, Series] = {}
        for family in (*_families(settings), *_own_families(settings)):
            self._series[family.name] = self._make(family)
        self._series[CACHE_CONFIG] = cache_config_series(settings, self._labels["engine"])
        if simulation is not None:
            info = self._series[SIMULATION_INFO.name] = ValueSeries(SIMULATION_INFO, {**self._labels, **simulation})
            info.at().value = 1
        self.value("vllm:engine_sleep_state", "awake").value = 1
        self._traffic = Traffic(
            self.value,
            self.histogram,
            caching=settings.enable_prefix_caching,
            has_peers=bool((settings.kv_transfer_config or {}).get("kv_connector")),
        )
        self.scheduled = self._traffic.scheduled
        self.finished = self._traffic.finished
        self.aborted = self._traffic.aborted
        self.stopped = self._traffic.stopped
        self.rejected = self._traffic.rejected
        self.failed = self._traffic.failed
        self.preempted = self._traffic.preempted
        self.stepped = self._traffic.stepped
        self.block_evicted = (
            residency_observer(self.histogram) if settings.kv_cache_metrics else NullObserver().block_evicted
        )
        self._engine_lag = WorstOf(LAG_WINDOW_SECONDS)
        self.late = self._engine_lag.record
        self._lag = WorstOf(LAG_WINDOW_SECONDS)
        self.record_lag = self._lag.record
        self.http = HttpMetrics()
        self._lora_info = LoRAInfo(settings.max_loras)
        self.sleep_operations = Operations(SLEEP_DURATION, SLEEPS_IN_FLIGHT)
        self.weight_operations = Operations(WEIGHT_DURATION, WEIGHTS_IN_FLIGHT)
        self._shown = self._choose_shown(rank, ranks)
        self._engine: Engine | None = None
        self._process = _process_registry()

    def attach(self, engine: Engine, uses_lora: Callable[[], bool] = lambda: False) -> None:
        """The engine whose state the gauges show, and whether there are LoRA adapters to tell of."""
        self._engine = engine
        enabled = self._settings.enable_lora
        self._lora_info.adapters = lambda: engine.adapters() if enabled or uses_lora() else None
        self._traffic.prompt_throughput.since = self._traffic.generation_throughput.since = engine.now

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

    def histograms(self) -> dict[str, Histogram]:
        """Every histogram by its family's printed name."""
        found = {name: series.histogram for name, series in self._series.items() if isinstance(series, HistogramSeries)}
        return found | {family.name: found[family.source] for family in self._other_engine if family.source in found}

    def tool_calls_parsed(self, *, streaming: bool, request_type: str, called: int, not_called: int) -> None:
        """The tool-call parser read an answer, or so many tokens of a streamed one; needs --tool-call-parser."""
        mode = "streaming" if streaming else "non_streaming"
        kind = request_type if request_type in TOOL_CALL_PARSER.values["request_type"] else "other"
        self.value(TOOL_CALL_PARSER.name, mode, "tool_call", kind).value += called
        self.value(TOOL_CALL_PARSER.name, mode, "no_tool_call", kind).value += not_called

    def connection_dropped(self, reason: str) -> None:
        """A client's connection was given up."""
        self.value(DROPPED.name, reason).value += 1

    def render(self) -> bytes:
        """The page in Prometheus' text format."""
        return to_bytes(self.page())

    def page(self) -> Page:
        """This worker's families with their present values."""
        self._read_engine()
        self.value(STREAM_LAG.name).value = self._lag.worst()
        if self._settings.simulation:
            self.value(SIMULATOR_LAG.name).value = self._engine_lag.worst()
        created = created_series_wanted()
        page = parse(generate_latest(self._process).decode())
        for series in self._shown:
            series.add_to(page, created)
        self.http.add_to(page, created)
        return page

    def _make(self, family: Family) -> Series:
        same = self._series.get(SAME_AS.get(family.name, ""))
        if family.type != "histogram":
            return ValueSeries(family, self._labels, same.at() if isinstance(same, ValueSeries) else None)
        if isinstance(same, HistogramSeries):
            return HistogramSeries(family, self._labels, same.histogram)
        bounds = self._bounds.get(family.name, self._bounds[family.buckets])
        return HistogramSeries(family, self._labels, Histogram(bounds))

    def _choose_shown(self, rank: int, ranks: int) -> Sequence[Shown]:
        lag, dropped = self._series[STREAM_LAG.name], self._series[DROPPED.name]
        operations = (self.sleep_operations, self.weight_operations)
        if self._settings.disable_log_stats:
            return [dropped, lag, *operations]
        if self._other_engine:
            labels = engine_labels(self._settings.llm_engine, self._labels["model_name"], rank, ranks)
            return [*engine_series(self._other_engine, labels, self._source), dropped, lag]
        hidden = set() if self._settings.legacy_metrics else {family.name for family in LEGACY_FAMILIES}
        shown: list[Shown] = [series for name, series in self._series.items() if name not in hidden]
        shown.insert(-1, self._lora_info)
        return [*shown, *operations]

    def _source(self, name: str) -> Source:
        """What a family of another engine shows: one of DERIVED, or the series of vLLM's family (with a label)."""
        derived = self._derived().get(name)
        if derived is not None:
            return derived
        family, _, label = name.removeprefix("vllm:").partition(":")
        series = self._series["vllm:" + family]
        if isinstance(series, HistogramSeries):
            return series.histogram
        return series.at(label) if label else series.at()

    def _derived(self) -> dict[str, Source]:
        return {
            "used_tokens": lambda: self.value("vllm:kv_cache_usage_perc").value * self._capacity,
            "capacity_tokens": lambda: float(self._capacity),
            "hit_rate": lambda: self.value("vllm:gpu_prefix_cache_hit_rate").value,
            "generation_throughput": lambda: self.value("vllm:avg_generation_throughput_toks_per_s").value,
            "finished": lambda: self.value("vllm:num_requests_success").value,
            "aborted": self._traffic.aborted_requests,
            "nothing": Value(),
        }

    def _read_engine(self) -> None:
        engine = self._engine
        if engine is None:
            return
        engine.advance(self._traffic.progress)
        waiting, deferred = engine.waiting, engine.deferred
        self.value("vllm:num_requests_running").value = engine.running
        self.value("vllm:num_requests_waiting").value = waiting
        self.value("vllm:num_requests_waiting_by_reason", "capacity").value = waiting - deferred
        self.value("vllm:num_requests_waiting_by_reason", "deferred").value = deferred
        self.value("vllm:kv_cache_usage_perc").value = engine.kv_cache_usage
        if _receives_kv(self._settings):
            waiting, fetching = engine.kv_fetches()
            self.value(KV_FETCH.name, "waiting_to_start").value = waiting
            self.value(KV_FETCH.name, "in_progress").value = fetching
        self._derive_legacy(engine.now)

    def _derive_legacy(self, now: float) -> None:
        traffic = self._traffic
        queries = self.value("vllm:prefix_cache_queries").value
        hits = self.value("vllm:prefix_cache_hits").value
        self.value("vllm:gpu_prefix_cache_hit_rate").value = hits / queries if queries else 0.0
        self.value("vllm:avg_prompt_throughput_toks_per_s").value = traffic.prompt_throughput.per_second(now)
        self.value("vllm:avg_generation_throughput_toks_per_s").value = traffic.generation_throughput.per_second(now)
        self.value("vllm:num_requests_success").value = traffic.finished_requests


def _families(settings: Settings) -> tuple[Family, ...]:
    """Those that are always there, and those that the flags ask for."""
    families = VLLM_FAMILIES
    if settings.kv_cache_metrics:
        families += KV_RESIDENCY
    if settings.tool_call_parser:
        families += (TOOL_CALL_PARSER,)
    if _receives_kv(settings):
        families += (KV_FETCH,)
    return families + LEGACY_FAMILIES


def _own_families(settings: Settings) -> tuple[Family, ...]:
    """Those that vLLM does not have."""
    return (SIMULATOR_LAG, DROPPED, STREAM_LAG) if settings.simulation else (DROPPED, STREAM_LAG)


def _receives_kv(settings: Settings) -> bool:
    return (settings.kv_transfer_config or {}).get("kv_role") in ("kv_consumer", "kv_both")


def _bounds(settings: Settings) -> dict[str, Sequence[float]]:
    """The bounds of vLLM's histograms by their group."""
    bounds: dict[str, Sequence[float]] = dict(BUCKETS)
    bounds["request_tokens"] = request_token_buckets(settings.max_model_len)
    custom: Mapping[str, Sequence[float]] = settings.custom_histogram_buckets
    return bounds | {group: tuple(group_bounds) for group, group_bounds in custom.items()}


def _process_registry() -> CollectorRegistry:
    """What prometheus_client tells of a Python process."""
    registry = CollectorRegistry()
    GCCollector(registry)
    PlatformCollector(registry)
    ProcessCollector(registry=registry)
    return registry
