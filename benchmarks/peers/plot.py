"""Draws what benchmarks/compare.py measured. usage: plot.py RESULTS.json PICTURE.png (needs matplotlib)."""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot

LOADS = ("500 streams", "1000 streams", "requests")
TITLES = ("us per token, 500 streams", "us per token, 1000 streams", "us per request")


OWN, OTHER = "#1f6f8b", "#8aa29e"


def cost(row: dict[str, Any]) -> float | None:
    """Microseconds of CPU; None when it could not be measured."""
    return row.get("cpu_us_per_token") or row.get("cpu_us_per_request")


def kept_up(row: dict[str, Any]) -> bool:
    """Whether everybody was served, with nearly 50 tokens a second for each stream; timers that drift lose a tenth."""
    on_time = "streams" not in row or row["tokens_per_s"] > 0.85 * 50 * row["streams"]
    return on_time and not row["starved_connections"]


def main() -> None:
    """One panel for each load, a bar for each design."""
    rows = json.loads(Path(sys.argv[1]).read_text())
    designs = list(dict.fromkeys(row["design"] for row in rows))
    figure, panels = pyplot.subplots(
        1, len(LOADS), figsize=(10, 1 + 0.27 * len(designs)), sharey=True, layout="constrained"
    )
    for panel, load, title in zip(panels, LOADS, TITLES, strict=True):
        for row in rows:
            if row["load"] != load:
                continue
            place, value = designs.index(row["design"]), cost(row)
            if value is None:
                panel.text(0, place, " not measured", fontsize=7, va="center")
                continue
            colour = OWN if row["design"].startswith("this") else OTHER
            bars = panel.barh(place, value, facecolor=colour if kept_up(row) else "none", edgecolor=colour)
            panel.bar_label(bars, fmt="%.0f", padding=2, fontsize=8)
        panel.set_title(title, fontsize=9)
        panel.set_yticks(range(len(designs)), designs, fontsize=8)
        panel.tick_params(axis="x", labelsize=7)
        panel.margins(x=0.15)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].invert_yaxis()
    figure.suptitle(
        "CPU time of the server, lowest of several rounds in turns; hollow: did not keep up with the load", fontsize=10
    )
    figure.savefig(sys.argv[2], dpi=90)


if __name__ == "__main__":
    main()
