"""Elastic expert parallelism: while the number of ranks changes, the server answers 503."""

import math
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm_mock.shared import SharedStore

SECTION = "elastic_ep"


class ElasticEP:
    """Whether the server is scaling, for all workers. It only pretends to: the workers stay as many as they are."""

    def __init__(self, store: "SharedStore") -> None:
        self._store = store

    @property
    def scaling(self) -> bool:
        """Whether requests are refused now."""
        until = self._store.get(SECTION)
        return until is not None and time.monotonic() < until

    def begin(self, seconds: float = math.inf) -> None:
        """Scale for so long or until end()."""
        until = time.monotonic() + min(seconds, 1e9)
        self._store.update(SECTION, lambda _: until)

    def end(self) -> None:
        """Serve again."""
        self._store.update(SECTION, lambda _: None)

    def status(self) -> dict[str, Any]:
        """What POST /is_scaling_elastic_ep answers; only an external scaler would know more."""
        scaling = self.scaling
        return {
            "is_scaling_elastic_ep": scaling,
            "phase": "committing" if scaling else "idle",
            "epoch": None,
            "error": None,
            "requested_data_parallel_size": None,
        }
