"""The overrides in force, the same for all workers: kept in the shared store, compiled when they changed."""

import time
from collections.abc import Mapping
from typing import Any, Protocol

from vllm_mock.metrics import overrides
from vllm_mock.metrics.accumulators import Histogram
from vllm_mock.metrics.overrides import Number, OverrideError

SECTION = "metric_overrides"


class Store(Protocol):
    """What is needed of the shared store."""

    def get(self, section: str) -> Any: ...
    def update(self, section: str, change: Any) -> Any: ...


class Overrides:
    """Takes documents, and answers for each key. Since when a value holds is kept, in monotonic seconds, for waves."""

    def __init__(
        self, store: Store, families: Mapping[str, str], bounds: Mapping[str, Histogram], seed: dict[str, Any]
    ) -> None:
        """`families`: types by printed name; `seed`: a document for a store that has none.

        Raises OverrideError when the seed cannot be applied.
        """
        self._store = store
        self._families = families
        self._bounds = bounds
        overrides.parse(seed, families, bounds)
        first = _merged({}, seed, time.monotonic())
        store.update(SECTION, lambda known: first if known is None else known)
        self._raw: Any = None
        self._entries: dict[str, Any] = {}

    def merge(self, document: Any) -> None:
        """Set and clear (null) keys, all or none; raises OverrideError."""
        overrides.parse(document, self._families, self._bounds)
        now = time.monotonic()
        self._store.update(SECTION, lambda known: _merged(known or {}, document, now))

    def clear(self) -> None:
        """Forget every override."""
        self._store.update(SECTION, lambda known: {})

    def document(self) -> dict[str, Any]:
        """What is overridden, as it was given."""
        return {key: held["value"] for key, held in (self._store.get(SECTION) or {}).items()}

    def entries(self) -> dict[str, Any]:
        """The parsed entry of each key (see overrides.parse)."""
        raw = self._store.get(SECTION)
        if raw is not self._raw:
            self._entries = overrides.parse(self.document(), self._families, self._bounds)
            self._raw = raw
        return self._entries

    def number(self, key: str) -> float | None:
        """The present value of a key that is no family, None if it is not overridden."""
        entry: Number | None = self.entries().get(key)
        return None if entry is None else overrides.value_at(entry, self.age(key))

    def gauge(self, *keys: str) -> float | None:
        """The present value of the first of these keys of a gauge that is overridden, None if none is."""
        entries = self.entries()
        key = next((key for key in keys if key in entries), None)
        return None if key is None else overrides.value_at(entries[key][0].value, self.age(key))

    def age(self, key: str) -> float:
        """Seconds since a key was set."""
        return time.monotonic() - self._store.get(SECTION)[key]["since"]


def _merged(known: dict[str, Any], document: dict[str, Any], now: float) -> dict[str, Any]:
    merged = {key: held for key, held in known.items() if key not in document}
    merged |= {key: {"value": value, "since": now} for key, value in document.items() if value is not None}
    return merged


__all__ = ["OverrideError", "Overrides"]
