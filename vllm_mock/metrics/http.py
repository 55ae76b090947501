"""The http_* families, which count requests by route rather than what the engine did."""

import re
import threading
from collections.abc import Iterable

from vllm_mock.metrics.accumulators import Histogram, Value
from vllm_mock.metrics.families import HistogramLines
from vllm_mock.metrics.page import Page, head, label_text, number

# Looked for anywhere in the route, so that /v1/load_lora_adapter is left out as well.
EXCLUDED_HANDLERS = re.compile("/metrics|/health|/load|/ping|/version|/server_info")
FINE_SECONDS = (*(0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 7.5, 10, 30, 60),)
COARSE_SECONDS = (0.1, 0.5, 1)
FINE = "http_request_duration_highr_seconds"
COARSE = "http_request_duration_seconds"


class _Summary:
    """Count and sum of sizes in bytes."""

    __slots__ = ("count", "created", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.created = Value().created


class _Route:
    """The accumulators of one (handler, method, status class)."""

    __slots__ = ("duration", "request_size", "requests", "response_size")

    def __init__(self, requests: Value, request_size: _Summary, response_size: _Summary, duration: Histogram) -> None:
        self.requests = requests
        self.request_size = request_size
        self.response_size = response_size
        self.duration = duration


class HttpMetrics:
    """Counts answered requests; may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._routes: dict[tuple[str, str, int], _Route | None] = {}
        self._requests: dict[tuple[str, str, str], Value] = {}
        self._request_sizes: dict[str, _Summary] = {}
        self._response_sizes: dict[str, _Summary] = {}
        self._durations: dict[tuple[str, str], HistogramLines] = {}
        self._fine = Histogram(FINE_SECONDS)
        self._fine_lines = HistogramLines(FINE, {}, self._fine)

    def observe(
        self, handler: str, method: str, status: int, request_bytes: int, response_bytes: int, seconds: float
    ) -> None:
        """Counts a request: `handler` is its route or "none"; sizes are content lengths in bytes."""
        key = (handler, method, status // 100)
        with self._lock:
            try:
                route = self._routes[key]
            except KeyError:
                route = self._add_route(*key)
            if route is None:
                return
            route.requests.value += 1
            route.request_size.count += 1
            route.request_size.total += request_bytes
            route.response_size.count += 1
            route.response_size.total += response_bytes
            route.duration.observe(seconds)
            self._fine.observe(seconds)

    def _add_route(self, handler: str, method: str, hundreds: int) -> _Route | None:
        route = None
        if not EXCLUDED_HANDLERS.search(handler):
            label = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", handler)
            route = _Route(
                self._requests.setdefault((label, method, f"{hundreds}xx"), Value()),
                self._request_sizes.setdefault(label, _Summary()),
                self._response_sizes.setdefault(label, _Summary()),
                self._duration(label, method),
            )
        self._routes[handler, method, hundreds] = route
        return route

    def _duration(self, handler: str, method: str) -> Histogram:
        lines = self._durations.get((handler, method))
        if lines is None:
            labels = {"handler": handler, "method": method}
            lines = self._durations[handler, method] = HistogramLines(COARSE, labels, Histogram(COARSE_SECONDS))
        return lines.histogram

    def add_to(self, page: Page, created: bool) -> None:
        """Show the families in vLLM's order; without any request only the one that has no labels."""
        with self._lock:
            self._add_requests(page, created)
            sizes, answers = self._request_sizes, self._response_sizes
            _add_sizes(page, "http_request_size_bytes", "Content length of requests.", sizes, created)
            _add_sizes(page, "http_response_size_bytes", "Content length of answers.", answers, created)
            text = "Time to answer a request, in many buckets."
            _add_durations(page, FINE, text, [self._fine_lines], created)
            text = "Time to answer a request, by route and method."
            _add_durations(page, COARSE, text, self._durations.values(), created)

    def _add_requests(self, page: Page, created: bool) -> None:
        text = "Requests answered, by route, method and class of status."
        samples = page["http_requests_total"] = head("http_requests_total", "counter", text)
        births = head("http_requests_created", "gauge", text)
        for (handler, method, status), value in self._requests.items():
            labels = label_text({"handler": handler, "method": method, "status": status})
            samples.append(f"http_requests_total{labels} {number(value.value)}")
            births.append(f"http_requests_created{labels} {number(value.created)}")
        if created and len(births) > 2:
            page["http_requests_created"] = births


def _add_sizes(page: Page, name: str, text: str, sizes: dict[str, _Summary], created: bool) -> None:
    samples = page[name] = head(name, "summary", text)
    births = head(name + "_created", "gauge", text)
    for handler, summary in sizes.items():
        labels = label_text({"handler": handler})
        samples.append(f"{name}_count{labels} {number(summary.count)}")
        samples.append(f"{name}_sum{labels} {number(summary.total)}")
        births.append(f"{name}_created{labels} {number(summary.created)}")
    if created and len(births) > 2:
        page[name + "_created"] = births


def _add_durations(page: Page, name: str, text: str, histograms: Iterable[HistogramLines], created: bool) -> None:
    samples = page[name] = head(name, "histogram", text)
    births = head(name + "_created", "gauge", text)
    for lines in histograms:
        samples += lines.samples()
        births.append(lines.created())
    if created and len(births) > 2:
        page[name + "_created"] = births
