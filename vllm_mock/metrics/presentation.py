"""The page that a scrape gets: what all workers counted, the share of a replica, and the overrides on top."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from vllm_mock.metrics import overrides as keys
from vllm_mock.metrics.engine_families import engine_labels, names_by_vllm_family
from vllm_mock.metrics.family_types import family_types
from vllm_mock.metrics.override_store import Overrides
from vllm_mock.metrics.overrides import FAMILY_OF_KEY, Series, sample_lines
from vllm_mock.metrics.page import Page, head, label_text, number, to_bytes
from vllm_mock.metrics.replicas import ReplicaCount
from vllm_mock.settings import Settings

DEFAULT_TOTAL = 100.0
SHARED_FAMILIES = {
    "vllm:request_success_total": ("counter", "Count of successfully processed requests."),
    "vllm:avg_prompt_throughput_toks_per_s": ("gauge", "Average prefill throughput in tokens/s."),
    "vllm:avg_generation_throughput_toks_per_s": ("gauge", "Average generation throughput in tokens/s."),
}
"""Those that a replica has its share of, so that an autoscaler sees load fall as it adds replicas."""

ENGINE_PREFIXES = ("vllm:", "sglang:", "trtllm_")
CPU_CACHE = "vllm:cpu_cache_usage_perc"
# An older and a newer name of the same quantity: bent together, unless each has a value of its own.
_SAME_QUANTITY = {
    "vllm:kv_cache_usage_perc": "vllm:gpu_cache_usage_perc",
    "vllm:gpu_cache_usage_perc": "vllm:kv_cache_usage_perc",
}
_MODEL_LABEL = re.compile(r'(?<=[{,])model_name="(?:[^"\\]|\\.)*"')


class Presentation:
    """Renders /metrics. `counted` gives the page of all workers."""

    def __init__(
        self, settings: Settings, counted: Callable[[], Page], overrides: Overrides, replicas: ReplicaCount
    ) -> None:
        engine = settings.llm_engine
        self._counted = counted
        self._overrides = overrides
        self._replicas = replicas
        self._types = family_types(engine)
        self._renamed = names_by_vllm_family(engine)
        self._model = {"model_name": settings.served_model_name[0]}
        self._labels = engine_labels(engine, self._model["model_name"])
        # The three families are vLLM's.
        self._shares = settings.metrics_mode == "mock" and engine == "vllm" and not settings.disable_log_stats

    def render(self) -> bytes:
        """The page in Prometheus' text format."""
        page = self._counted()
        if self._shares:
            self._replicas.add_to(page)
        entries = self._overrides.entries()
        if self._shares or keys.TOTAL in entries:
            page = self._with_share(page)
        if not entries:
            return to_bytes(page)
        for key in entries:
            self._override(page, key, entries)
        if keys.MODEL_NAME in entries:
            page = _relabelled(page, entries[keys.MODEL_NAME])
        return to_bytes(page)

    def _with_share(self, page: Page) -> Page:
        """The three families first, as the README prints them."""
        total = self._overrides.number(keys.TOTAL)
        value = number((DEFAULT_TOTAL if total is None else total) / self._replicas.count())
        share: Page = {}
        for family, (kind, text) in SHARED_FAMILIES.items():
            name = self._renamed.get(family, family)
            share[name] = [*head(name, kind, text), f"{name}{label_text(self._model)} {value}"]
        hidden = {*share, *(name.removesuffix("_total") + "_created" for name in share)}
        return share | {name: lines for name, lines in page.items() if name not in hidden}

    def _override(self, page: Page, key: str, entries: Mapping[str, Any]) -> None:
        family = FAMILY_OF_KEY.get(key, key)
        if key == keys.CPU_RUNNING:
            self._override_cpu_usage(page, entries)
        elif family in self._types:
            age = self._overrides.age(key)
            self._replace(page, family, entries[key], age)
            same = _SAME_QUANTITY.get(family, family)
            if not _is_overridden(same, entries):
                self._replace(page, same, entries[key], age)

    def _override_cpu_usage(self, page: Page, entries: Mapping[str, Any]) -> None:
        """AIBrix's key: so many of 100 possible requests use the cache in the CPU's memory, in per cent."""
        running = self._overrides.number(keys.CPU_RUNNING)
        if running is not None and not _is_overridden(CPU_CACHE, entries):
            self._replace(page, CPU_CACHE, [Series(min(100.0, running))], 0.0)

    def _replace(self, page: Page, family: str, entry: Any, seconds: float) -> None:
        name = self._renamed.get(family, family)
        labels = self._model if self._shares and family in SHARED_FAMILIES else self._labels
        before = page.get(name) or head(name, self._types[family], "Set by /set_metrics.")
        page[name] = [*before[:2], *sample_lines(name, entry, labels, seconds)]
        page.pop(name.removesuffix("_total") + "_created", None)


def _is_overridden(family: str, entries: Mapping[str, Any]) -> bool:
    return any(FAMILY_OF_KEY.get(key, key) == family for key in entries)


def _relabelled(page: Page, model_name: str) -> Page:
    """Every series of the engine under another model's name."""
    label = label_text({"model_name": model_name})[1:-1]
    return {
        name: [_MODEL_LABEL.sub(lambda _: label, line) for line in lines] if name.startswith(ENGINE_PREFIXES) else lines
        for name, lines in page.items()
    }
