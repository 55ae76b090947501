"""Sleeping, pausing and resetting the engines of all workers at once."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm_mock.engine import FixedEngine
    from vllm_mock.metrics import Metrics
    from vllm_mock.shared import Peers, SharedStore

SECTION = "engine_state"
COMMAND = "engine"
# What a sleeping engine has given up; it is awake again when both are back.
SLEEPING_PARTS = ("weights", "kv_cache")
SLEEP_STATES = ("awake", "weights_offloaded", "discard_all")
# How long another worker may take to finish what it runs.
DRAIN_TIMEOUT_SECONDS = 3600.0
_POLL_SECONDS = 0.02
_AWAKE: dict[str, Any] = {"paused": None, "level": 0, "asleep": []}


class EngineControl:
    """The state that an operator put the engines into. A worker that starts later takes it over.

    `mode` says what becomes of requests in flight: `abort` ends them, `wait` lets them finish, `keep` holds them.
    """

    def __init__(self, engine: "FixedEngine", metrics: "Metrics", store: "SharedStore", peers: "Peers") -> None:
        self._engine = engine
        self._metrics = metrics
        self._store = store
        self._peers = peers
        peers.register(COMMAND, lambda argument: getattr(self, f"_{argument[0]}")(*argument[1:]))
        self._pause(self._state["paused"])
        self._show_sleep(self._state)

    @property
    def paused(self) -> bool:
        """Whether new requests are refused or held."""
        return self._state["paused"] is not None

    @property
    def sleeping(self) -> bool:
        """Whether the weights or the KV cache are given up."""
        return bool(self._state["asleep"])

    def pause(self, mode: str, *, clear_cache: bool = True) -> None:
        """Returns when the requests in flight are what the mode says."""
        self._change(paused=mode)
        self._all("pause", mode)
        if clear_cache and mode != "keep":
            self.reset_prefix_cache(running_too=False)

    def resume(self) -> None:
        """Go on with what was held, and take requests again."""
        self._change(paused=None)
        self._all("resume")

    def sleep(self, level: int, mode: str) -> None:
        """Level 0 only pauses; 1 moves the weights away and drops the KV cache; 2 drops both."""
        with self._metrics.sleep_operations.measured("sleep"):
            self._sleep(level, mode)

    def _sleep(self, level: int, mode: str) -> None:
        self._change(paused=mode)
        self._all("pause", mode)
        if level:
            self._change(level=level, asleep=list(SLEEPING_PARTS))
            self.reset_prefix_cache(running_too=True)
        self._all("show_sleep", self._state)

    def wake_up(self, tags: Sequence[str] | None) -> None:
        """Bring back these parts, by default all; the engine goes on when nothing is missing."""
        with self._metrics.sleep_operations.measured("wake"):
            self._wake_up(tags)

    def release_kv_cache(self) -> None:
        """Give up the KV cache's memory: what was cached is gone."""
        with self._metrics.sleep_operations.measured("release_kv_cache_memory"):
            self.reset_prefix_cache(running_too=True)

    def _wake_up(self, tags: Sequence[str] | None) -> None:
        left = [part for part in self._state["asleep"] if tags is not None and part not in tags]
        if left:
            self._change(asleep=left)
        else:
            self._store.update(SECTION, lambda _: _AWAKE)
            self._all("resume")
        self._all("show_sleep", self._state)

    def reset_prefix_cache(self, *, running_too: bool) -> bool:
        """Empty the prefix caches; False if one could not be, because requests run."""
        return all(self._all("reset", running_too).values())

    def abort(self, request_ids: Sequence[str] | None) -> int:
        """End requests by their ids, by default all; returns how many sequences that were."""
        return sum(self._all("stop", request_ids).values())

    @property
    def _state(self) -> dict[str, Any]:
        return self._store.get(SECTION) or _AWAKE

    def _change(self, **fields: Any) -> None:
        self._store.update(SECTION, lambda state: {**(state or _AWAKE), **fields})

    def _all(self, *argument: Any) -> dict[int, Any]:
        return self._peers.ask_all(COMMAND, argument, DRAIN_TIMEOUT_SECONDS)

    def _pause(self, mode: str | None) -> None:
        if mode == "keep":
            self._engine.hold()
        elif mode is not None:
            self._engine.close()
            if mode == "abort":
                self._engine.stop()
            while not self._engine.idle:
                time.sleep(_POLL_SECONDS)

    def _resume(self) -> None:
        self._engine.open()

    def _reset(self, running_too: bool) -> bool:
        return self._engine.reset_prefix_cache(running_too=running_too)

    def _stop(self, request_ids: Sequence[str] | None) -> int:
        return self._engine.stop(request_ids)

    def _show_sleep(self, state: dict[str, Any]) -> None:
        level = state["level"] if state["asleep"] else 0
        for number, name in enumerate(SLEEP_STATES):
            self._metrics.value("vllm:engine_sleep_state", name).value = float(number == level)
