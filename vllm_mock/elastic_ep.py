"""Elastic expert parallelism: while the number of ranks changes, the server answers 503."""

import math
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm_mock.shared import SharedStore

SECTION = "elastic_ep"
_IDLE: dict[str, Any] = {"until": 0.0, "size": None, "epoch": 0}


class ElasticEP:
    """Whether the server is scaling, for all workers. It only pretends to: the workers stay as many as they are."""

    def __init__(self, store: "SharedStore") -> None:
        self._store = store

    @property
    def scaling(self) -> bool:
        """Whether requests are refused now."""
        held = self._store.get(SECTION)
        return held is not None and time.time() < held["until"]

    def begin(self, size: int | None = None, seconds: float = math.inf) -> None:
        """Scale to `size` ranks, for so long or until end()."""
        until = time.time() + min(seconds, 1e9)

        def start(held: dict[str, Any] | None) -> dict[str, Any]:
            return {"until": until, "size": size, "epoch": (held or _IDLE)["epoch"] + 1}

        self._store.update(SECTION, start)

    def end(self) -> None:
        """Serve again."""
        self._store.update(SECTION, lambda held: {**(held or _IDLE), "until": 0.0})

    def status(self) -> dict[str, Any]:
        """What POST /is_scaling_elastic_ep answers."""
        held = self._store.get(SECTION) or _IDLE
        scaling = self.scaling
        return {
            "is_scaling_elastic_ep": scaling,
            "phase": "scaling" if scaling else "idle",
            "epoch": held["epoch"] or None,
            "error": None,
            "requested_data_parallel_size": held["size"],
        }
