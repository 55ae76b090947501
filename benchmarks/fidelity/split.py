"""What each row is for: split.json.

fitted: constants of the roofline were chosen on it. doubtful: the measurement contradicts others or itself
(docs/fidelity.md says how), so that it is listed but counts for nothing. All others are held out.
"""

import json
from pathlib import Path
from typing import Any

from benchmarks.fidelity.rows import Row

_SPLIT = Path(__file__).with_name("split.json")
HELD_OUT, FITTED, DOUBTFUL = "held out", "fitted", "doubtful"

Groups = dict[str, list[dict[str, Any]]]


def groups() -> Groups:
    """By purpose, groups of rows; each as the fields of Row that its rows have."""
    return json.loads(_SPLIT.read_text(encoding="utf-8"))


def purpose(row: Row, found: Groups) -> str:
    """HELD_OUT, FITTED or DOUBTFUL."""
    for name in (DOUBTFUL, FITTED):
        if any(all(getattr(row, field) == value for field, value in group.items()) for group in found[name]):
            return name
    return HELD_OUT
