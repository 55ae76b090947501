"""The tables of devices and models: JSON files in vllm_mock/data, read when a simulation asks for them."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

_DATA = Path(__file__).resolve().parents[2] / "data"


@lru_cache(maxsize=2)
def table(name: str) -> dict[str, Any]:
    """The content of data/NAME.json."""
    return json.loads((_DATA / f"{name}.json").read_text(encoding="utf-8"))
