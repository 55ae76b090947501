"""How many replicas the Deployment of this pod has, for the share that each shows of the mock's metrics."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from vllm_mock.metrics.catalogue import Family
from vllm_mock.metrics.page import Page, head, label_text, number

SECTION = "replicas"
DEFAULT = "default"
WATCH = "watch"
STALE = "stale"
SOURCES = (DEFAULT, WATCH, STALE)

REPLICAS = Family("vllm_mock:deployment_replicas", "gauge", "Replicas of the Deployment, by where the number is from.")
AGE = Family("vllm_mock:deployment_replicas_age_seconds", "gauge", "Seconds since the API server last confirmed them.")


class Store(Protocol):
    """What is needed of the shared store."""

    def get(self, section: str) -> Any: ...
    def update(self, section: str, change: Callable[[Any], Any]) -> Any: ...


@dataclass(frozen=True, slots=True)
class Reading:
    """A count and where it is from; `confirmed` in monotonic seconds, 0 for the default.

    `default`: nobody has been asked. `watch`: the API server tells of every change. `stale`: it did, but cannot be
    reached now, so this is the last known count.
    """

    count: int
    source: str
    confirmed: float


class ReplicaCount:
    """The last known count; one worker watches, all read. A read never waits for the API server."""

    def __init__(self, store: Store, default: int) -> None:
        self._store = store
        self._default = default

    def reading(self) -> Reading:
        """The count in force."""
        held = self._store.get(SECTION)
        return Reading(self._default, DEFAULT, 0.0) if held is None else Reading(**held)

    def count(self) -> int:
        """Replicas, at least 1."""
        return self.reading().count

    def confirm(self, replicas: int | None) -> None:
        """The API server said so; 0 or missing counts as 1, since it is a running pod that asks."""
        held = {"count": max(replicas or 1, 1), "source": WATCH, "confirmed": time.monotonic()}
        self._store.update(SECTION, lambda _: held)

    def lose(self) -> None:
        """The API server cannot be asked any longer: the count stays, its source says so."""
        self._store.update(SECTION, lambda held: held and {**held, "source": STALE})

    def add_to(self, page: Page) -> None:
        """Show count, source and age."""
        reading = self.reading()
        name = REPLICAS.name
        page[name] = head(name, REPLICAS.type, REPLICAS.help)
        page[name] += [
            f"{name}{label_text({'source': source})} {number(float(reading.count if source == reading.source else 0))}"
            for source in SOURCES
        ]
        age = time.monotonic() - reading.confirmed if reading.confirmed else 0.0
        page[AGE.name] = [*head(AGE.name, AGE.type, AGE.help), f"{AGE.name} {number(age)}"]
