"""What POST /set_metrics takes: keys, their values, and the lines that replace a family on the page.

A value is a number, a wave (see `waves`), or an object with `value` and `labels`; a histogram's is a list of raw
samples, or an object with cumulative `buckets`, `sum` and `count`. Several series of a family come as a list.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from vllm_mock.metrics.accumulators import Histogram
from vllm_mock.metrics.families import HistogramLines, Labels
from vllm_mock.metrics.page import label_text, number
from vllm_mock.metrics.waves import EXPECTED as WAVE_EXPECTED
from vllm_mock.metrics.waves import Wave, parse_wave

TOTAL = "total"
MODEL_NAME = "model_name"
SERVER_LOAD = "server_load"
CPU_RUNNING = "cpu_running"

FAMILY_OF_KEY = {
    "success_total": "vllm:request_success_total",
    "prompt_tokens_total": "vllm:prompt_tokens_total",
    "generation_tokens_total": "vllm:generation_tokens_total",
    "running": "vllm:num_requests_running",
    "waiting": "vllm:num_requests_waiting",
    "swapped": "vllm:num_requests_swapped",
    "avg_prompt_throughput": "vllm:avg_prompt_throughput_toks_per_s",
    "avg_generation_throughput": "vllm:avg_generation_throughput_toks_per_s",
    "gpu_cache_usage_perc": "vllm:gpu_cache_usage_perc",
    "cpu_cache_usage_perc": "vllm:cpu_cache_usage_perc",
    "kv_cache_usage_perc": "vllm:kv_cache_usage_perc",
}
KEYS = (TOTAL, *FAMILY_OF_KEY, MODEL_NAME, SERVER_LOAD, CPU_RUNNING)

Number = float | Wave


class OverrideError(ValueError):
    """The document cannot be applied; the message names what is wrong and what is possible."""


class Series(NamedTuple):
    """One series of an overridden counter or gauge; no labels: those that the family has."""

    value: Number
    labels: Labels | None = None


class Buckets(NamedTuple):
    """One histogram: counts up to each bound (`+Inf` is infinity), their sum, and labels as in Series."""

    cumulative: tuple[tuple[float, float], ...]
    total: float
    labels: Labels | None = None


def parse(document: Any, families: Mapping[str, str], bounds: Mapping[str, Histogram]) -> dict[str, Any]:
    """The entries of a document by key, None for a key to be cleared; raises OverrideError.

    `families`: types by printed name. `bounds`: the histogram whose bounds raw samples are sorted into.
    Entries are a Number for the keys that are no family, a text for model_name, else lists of Series or Buckets.
    """
    if not isinstance(document, dict):
        raise OverrideError("The body must be a JSON object of metric overrides.")
    return {key: _entry(key, value, families, bounds) for key, value in document.items()}


def _entry(key: str, value: Any, families: Mapping[str, str], bounds: Mapping[str, Histogram]) -> Any:
    family = FAMILY_OF_KEY.get(key, key)
    if key not in KEYS and family not in families:
        valid = ", ".join(KEYS)
        raise OverrideError(f"Unknown override {key!r}. Valid keys: {valid}, and every family name of /metrics.")
    if value is None:
        return None
    if key == MODEL_NAME:
        if not isinstance(value, str) or not value:
            raise OverrideError(f"{MODEL_NAME}: expected a non-empty text, got {value!r}.")
        return value
    if key in (TOTAL, SERVER_LOAD, CPU_RUNNING):
        return _number(key, value)
    if families[family] == "histogram":
        return [_buckets(key, one, bounds.get(family)) for one in _histograms(value)]
    return [_series(key, one) for one in (value if isinstance(value, list) and value else [value])]


def _number(key: str, value: Any) -> Number:
    if isinstance(value, str):
        try:
            return parse_wave(value)
        except ValueError:
            raise OverrideError(f"{key}: {value!r} is no number and no {WAVE_EXPECTED}.") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OverrideError(f"{key}: expected a number or {WAVE_EXPECTED}, got {value!r}.")
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    if not finite:
        raise OverrideError(f"{key}: NaN and infinities are not possible.")
    return float(value)


def _labels(key: str, labels: Any) -> Labels | None:
    if labels is None:
        return None
    if not isinstance(labels, dict) or not all(_is_label(name, value) for name, value in labels.items()):
        raise OverrideError(f"{key}: labels must be an object of texts with names such as model_name, got {labels!r}.")
    return labels


def _is_label(name: str, value: Any) -> bool:
    return isinstance(value, str) and name.isidentifier() and name.isascii() and name != "le"


def _fields(key: str, value: dict[str, Any], *known: str) -> None:
    if unknown := [name for name in value if name not in known]:
        raise OverrideError(f"{key}: unknown field {unknown[0]!r}; known are {', '.join(known)}.")


def _series(key: str, value: Any) -> Series:
    if not isinstance(value, dict):
        return Series(_number(key, value))
    _fields(key, value, "value", "labels")
    if "value" not in value:
        raise OverrideError(f"{key}: the field 'value' is missing.")
    return Series(_number(key, value["value"]), _labels(key, value.get("labels")))


def _histograms(value: Any) -> list[Any]:
    """A list of objects is several series, a list of anything else the raw samples of one."""
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        return value
    return [{"samples": value} if isinstance(value, list) else value]


def _buckets(key: str, value: Any, histogram: Histogram | None) -> Buckets:
    if not isinstance(value, dict):
        raise OverrideError(f"{key}: a histogram takes a list of samples or an object with 'buckets', got {value!r}.")
    labels = _labels(key, value.get("labels"))
    if "samples" in value:
        _fields(key, value, "samples", "labels")
        return _sorted_samples(key, value["samples"], histogram, labels)
    _fields(key, value, "buckets", "sum", "count", "labels")
    cumulative = _cumulative(key, value.get("buckets"), value.get("count"))
    return Buckets(cumulative, _plain(key, "sum", value.get("sum", 0)), labels)


def _sorted_samples(key: str, samples: Any, histogram: Histogram | None, labels: Labels | None) -> Buckets:
    if not isinstance(samples, list):
        raise OverrideError(f"{key}: samples must be a list of numbers, got {samples!r}.")
    numbers = [_plain(key, "samples", sample) for sample in samples]
    counts = Histogram(histogram.bounds if histogram is not None else ())
    for sample in numbers:
        counts.observe(sample)
    return Buckets(counts.cumulative(), counts.total, labels)


def _cumulative(key: str, buckets: Any, count: Any) -> tuple[tuple[float, float], ...]:
    if not isinstance(buckets, dict):
        raise OverrideError(f"{key}: expected 'samples' or an object 'buckets' of counts by upper bound.")
    counts = sorted((_bound(key, bound), _plain(key, "buckets", value)) for bound, value in buckets.items())
    last = counts[-1][1] if counts else 0.0
    if not counts or counts[-1][0] != math.inf:
        counts.append((math.inf, last if count is None else _plain(key, "count", count)))
    elif count is not None and _plain(key, "count", count) != last:
        raise OverrideError(f"{key}: count {count!r} is not that of the bucket +Inf.")
    values = [value for _, value in counts]
    if values != sorted(values) or values[0] < 0:
        raise OverrideError(f"{key}: the counts of buckets are cumulative: they start at 0 or more and never fall.")
    return tuple(counts)


def _bound(key: str, text: str) -> float:
    try:
        bound = float(text)
    except ValueError:
        bound = math.nan
    if math.isnan(bound):
        raise OverrideError(f"{key}: {text!r} is no upper bound of a bucket.")
    return bound


def _plain(key: str, field: str, value: Any) -> float:
    converted = _number(f"{key}.{field}", value)
    if isinstance(converted, Wave):
        raise OverrideError(f"{key}.{field}: expected a number, got {value!r}.")
    return converted


def value_at(value: Number, seconds: float) -> float:
    """A number, or a wave's value `seconds` after it was set."""
    return value.at(seconds) if isinstance(value, Wave) else value


def sample_lines(name: str, entries: Iterable[Series | Buckets], labels: Labels, seconds: float) -> list[str]:
    """The samples of an overridden family `seconds` after it was set; `labels` where an entry has none."""
    lines: list[str] = []
    for entry in entries:
        own = labels if entry.labels is None else entry.labels
        if isinstance(entry, Series):
            lines.append(f"{name}{label_text(own)} {number(value_at(entry.value, seconds))}")
        else:
            lines += _histogram_lines(name, entry, own)
    return lines


def _histogram_lines(name: str, entry: Buckets, labels: Labels) -> list[str]:
    histogram = Histogram([bound for bound, _ in entry.cumulative[:-1]])
    histogram.set_cumulative([count for _, count in entry.cumulative], entry.total)
    return HistogramLines(name, labels, histogram).samples()
