"""Draws what benchmarks/compare.py measured. usage: plot.py RESULTS.json PICTURE.png (needs matplotlib)."""

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot

LOADS = ("500 streams", "1000 streams", "requests")
TITLES = ("us per token, 500 streams", "us per token, 1000 streams", "us per request")


def main() -> None:
    """One panel for each load, a bar for each design."""
    rows = json.loads(Path(sys.argv[1]).read_text())
    designs = list(dict.fromkeys(row["design"] for row in rows))
    figure, panels = pyplot.subplots(1, len(LOADS), figsize=(10, 2.6), sharey=True, layout="constrained")
    for panel, load, title in zip(panels, LOADS, TITLES, strict=True):
        for place, design in enumerate(designs):
            for row in rows:
                if (row["design"], row["load"]) == (design, load):
                    value = row.get("cpu_us_per_token") or row["cpu_us_per_request"]
                    bars = panel.barh(place, value, color="#1f6f8b" if design.startswith("this") else "#8aa29e")
                    panel.bar_label(bars, fmt="%.0f", padding=2, fontsize=8)
        panel.set_title(title, fontsize=9)
        panel.set_yticks(range(len(designs)), designs, fontsize=8)
        panel.tick_params(axis="x", labelsize=7)
        panel.margins(x=0.15)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].invert_yaxis()
    figure.suptitle("CPU time of the server, lowest of several rounds in turns", fontsize=10)
    figure.savefig(sys.argv[2], dpi=90)


if __name__ == "__main__":
    main()
