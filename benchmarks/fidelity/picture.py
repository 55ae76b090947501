"""A scatter plot of predicted against measured times."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.fidelity.report import Judged
from benchmarks.fidelity.split import DOUBTFUL, FITTED, HELD_OUT

_COLOURS = {"dense": "#1f6f8b", "MoE": "#d1495b"}
_MARKS = {HELD_OUT: "o", FITTED: "x", DOUBTFUL: "."}


def draw(judged: Sequence[Judged], title: str, path: Path) -> None:
    """Writes a PNG file: TPOT and TTFT, by kind and split. Raises ImportError without matplotlib."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, both = pyplot.subplots(1, 2, figsize=(11, 5.4), layout="constrained")
    for axes, name in zip(both, ("tpot", "ttft"), strict=True):
        _scatter(axes, judged, name)
    both[0].set_title("time per output token, ms", fontsize=10)
    both[1].set_title("time to first token, ms", fontsize=10)
    both[0].legend(frameon=False, loc="upper left", fontsize=9)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def _scatter(axes: Any, judged: Sequence[Judged], name: str) -> None:
    for kind, colour in _COLOURS.items():
        for purpose, mark in _MARKS.items():
            chosen = [one.prediction for one in judged if one.kind == kind and one.purpose == purpose]
            measured = [getattr(one.row, name) for one in chosen]
            label = f"{kind}, {purpose} ({len(chosen)})"
            shape = {"s": 14, "linewidths": 0.7, "alpha": 0.65, "marker": mark}
            shape |= {"color": colour} if purpose != HELD_OUT else {"edgecolors": colour, "facecolors": "none"}
            axes.scatter(measured, [getattr(one, name) for one in chosen], label=label, **shape)
    times = [value for one in judged for value in (getattr(one.prediction, name), getattr(one.prediction.row, name))]
    ends = [min(times) * 0.9, max(times) * 1.1]
    axes.plot(ends, ends, color="#333333", linewidth=0.8)
    axes.fill_between(ends, [0.8 * end for end in ends], [1.2 * end for end in ends], color="#333333", alpha=0.08)
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel="measured", ylabel="predicted (band: ±20 %)")
    axes.grid(alpha=0.2, which="both", linewidth=0.4)
    axes.spines[["top", "right"]].set_visible(False)
