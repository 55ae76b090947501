"""What the evictions of sampled blocks add to the families of --kv-cache-metrics."""

from collections.abc import Callable, Sequence

from vllm_mock.engine.kv_residency import ObserveEvicted
from vllm_mock.metrics.accumulators import Histogram


def residency_observer(histogram: Callable[[str], Histogram]) -> ObserveEvicted:
    """An EngineObserver's `block_evicted`; `histogram` finds a series by family name."""
    lifetimes = histogram("vllm:kv_block_lifetime_seconds")
    idle_times = histogram("vllm:kv_block_idle_before_evict_seconds")
    gaps = histogram("vllm:kv_block_reuse_gap_seconds")

    def block_evicted(lifetime: float, idle: float, reuse_gaps: Sequence[float]) -> None:
        lifetimes.observe(lifetime)
        idle_times.observe(idle)
        for gap in reuse_gaps:
            gaps.observe(gap)

    return block_evicted
