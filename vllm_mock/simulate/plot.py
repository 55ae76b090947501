"""A picture of a simulation: running and waiting requests, and the KV cache, over time."""

from pathlib import Path

from vllm_mock.simulate.timeline import Timeline


def plot(timeline: Timeline, title: str, path: Path) -> None:
    """Writes a PNG file. Raises ImportError without matplotlib."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    times = [point.at for point in timeline.points]
    figure, (requests, cache) = pyplot.subplots(
        2, 1, sharex=True, figsize=(9, 4.8), height_ratios=(3, 2), layout="constrained"
    )
    requests.fill_between(times, [point.running for point in timeline.points], step="pre", alpha=0.35, color="#1f6f8b")
    requests.step(times, [point.running for point in timeline.points], color="#1f6f8b", label="running")
    requests.step(times, [point.waiting for point in timeline.points], color="#d1495b", label="waiting")
    requests.set_ylabel("requests")
    requests.set_title(title, fontsize=10)
    requests.legend(frameon=False)
    cache.fill_between(times, [100 * point.kv_usage for point in timeline.points], step="pre", color="#8aa29e")
    cache.set_ylabel("KV cache, % used")
    cache.set_ylim(0, 100)
    cache.set_xlabel("seconds")
    for axes in (requests, cache):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlim(left=0)
    requests.set_ylim(bottom=0)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
