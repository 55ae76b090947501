"""The http_* families, which count requests by route rather than what the engine did."""

import re
import threading
from collections.abc import Iterator

from prometheus_client.core import Metric

from vllm_mock.metrics.accumulators import Histogram, Value
from vllm_mock.metrics.families import Labels, add_histogram, bucket_labels, created_series_wanted

# Looked for anywhere in the route, so that /v1/load_lora_adapter is left out as well.
EXCLUDED_HANDLERS = re.compile("/metrics|/health|/load|/ping|/version|/server_info")
FINE_SECONDS = (*(0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 7.5, 10, 30, 60),)
COARSE_SECONDS = (0.1, 0.5, 1)


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
        self._durations: dict[tuple[str, str], Histogram] = {}
        self._fine = Histogram(FINE_SECONDS)

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
                self._durations.setdefault((label, method), Histogram(COARSE_SECONDS)),
            )
        self._routes[handler, method, hundreds] = route
        return route

    def metrics(self) -> Iterator[Metric]:
        """The families in vLLM's order; without any request only the one that has no labels."""
        with self._lock:
            created = created_series_wanted()
            metrics = (
                self._requests_metric(created),
                _sizes_metric("http_request_size_bytes", "Content length of requests.", self._request_sizes, created),
                _sizes_metric("http_response_size_bytes", "Content length of answers.", self._response_sizes, created),
                self._fine_metric(created),
                self._durations_metric(created),
            )
        yield from metrics

    def _requests_metric(self, created: bool) -> Metric:
        metric = Metric("http_requests", "Requests answered, by route, method and class of status.", "counter")
        for (handler, method, status), value in self._requests.items():
            labels = {"handler": handler, "method": method, "status": status}
            metric.add_sample("http_requests_total", labels, value.value)
            if created:
                metric.add_sample("http_requests_created", labels, value.created)
        return metric

    def _fine_metric(self, created: bool) -> Metric:
        name = "http_request_duration_highr_seconds"
        metric = Metric(name, "Time to answer a request, in many buckets.", "histogram")
        add_histogram(metric, {}, bucket_labels({}, self._fine), self._fine)
        if created:
            metric.add_sample(name + "_created", {}, self._fine.created)
        return metric

    def _durations_metric(self, created: bool) -> Metric:
        name = "http_request_duration_seconds"
        metric = Metric(name, "Time to answer a request, by route and method.", "histogram")
        for (handler, method), histogram in self._durations.items():
            labels = {"handler": handler, "method": method}
            add_histogram(metric, labels, bucket_labels(labels, histogram), histogram)
            if created:
                metric.add_sample(name + "_created", labels, histogram.created)
        return metric


def _sizes_metric(name: str, text: str, sizes: dict[str, _Summary], created: bool) -> Metric:
    metric = Metric(name, text, "summary")
    for handler, summary in sizes.items():
        labels: Labels = {"handler": handler}
        metric.add_sample(name + "_count", labels, summary.count)
        metric.add_sample(name + "_sum", labels, summary.total)
        if created:
            metric.add_sample(name + "_created", labels, summary.created)
    return metric
