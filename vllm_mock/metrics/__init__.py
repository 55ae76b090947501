"""What Prometheus reads: every family as data, values from engine events, one page."""

from vllm_mock.metrics.collector import Metrics
from vllm_mock.metrics.http import HttpMetrics

__all__ = ["HttpMetrics", "Metrics"]
