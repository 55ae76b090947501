"""Sleeping, pausing and resetting the engines of all workers at once."""

import re
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm_mock.engine import Engine
    from vllm_mock.metrics import Metrics
    from vllm_mock.shared import Peers, SharedStore

SECTION = "engine_state"
COMMAND = "engine"
# What a sleeping engine has given up; it is awake again when both are back.
WEIGHTS, KV_CACHE = "weights", "kv_cache"
# The tag by which a wake-up from level 0 asks for nothing of these.
SCHEDULING = "scheduling"
SLEEP_STATES = ("awake", "weights_offloaded", "discard_all")
# How long another worker may take to answer, and to finish what it runs.
TIMEOUT_SECONDS, DRAIN_TIMEOUT_SECONDS = 10.0, 3600.0
_POLL_SECONDS = 0.02
# `paused`: None, "new" (nothing leaves the queue) or "all" (running requests stand still as well). `rejects`: whether
# new requests are refused. `shown`: the level that the metrics tell, None for awake.
_AWAKE: dict[str, Any] = {"paused": None, "rejects": False, "asleep": [], "shown": None}
# vLLM knows a text completion by its id and the number of the prompt.
_PROMPT_ID = re.compile(r"(cmpl-.*)-\d+", re.DOTALL)


class NotPaused(Exception):
    """What was asked for needs a pause that is complete, and an engine that is not asleep."""


class EngineControl:
    """The state that an operator put the engines into; it is in the store, for workers that start later.

    `mode` says what becomes of requests in flight: `abort` ends them, `wait` lets those that run finish, `keep` holds
    them. A paused engine refuses new requests, except with `keep`; those of a sleeping engine wait.
    """

    def __init__(self, engine: "Engine", metrics: "Metrics", store: "SharedStore", peers: "Peers") -> None:
        self._engine = engine
        self._metrics = metrics
        self._store = store
        self._peers = peers
        peers.register(COMMAND, lambda argument: getattr(self, f"_{argument[0]}")(*argument[1:]))

    @property
    def paused(self) -> bool:
        """Whether requests are refused or held."""
        return self._state["paused"] is not None

    @property
    def sleeping(self) -> bool:
        """Whether the engine is paused, or has given up its weights or KV cache."""
        return self.paused or bool(self._state["asleep"])

    def take_over(self) -> None:
        """Be what the other workers are; to be called when their commands can reach this one."""
        self._apply(False)

    def pause(self, mode: str, *, clear_cache: bool = True) -> None:
        """Returns when the requests in flight are what the mode says."""
        self._enter(mode, rejects=mode != "keep")
        if clear_cache and mode != "keep":
            self.reset_prefix_cache(running_too=True)

    def resume(self) -> None:
        """Go on with what was held, and take requests again."""
        self._change(paused=None, rejects=False)

    def sleep(self, level: int, mode: str) -> None:
        """Level 0 only pauses; 1 moves the weights away and drops the KV cache; 2 drops both."""
        self._enter(mode)
        if level:
            self.reset_prefix_cache(running_too=True)
            self._change(asleep=[WEIGHTS, KV_CACHE], shown=level)
        else:
            self._change(shown=level)

    def release_kv_cache(self) -> None:
        """Drop the KV cache of a paused engine. Raises NotPaused."""
        needs = None
        if not self.paused or not self.idle:
            needs = "a completed pause first"
        elif self._state["asleep"]:
            needs = "all executor memory to be resident"
        if needs is not None:
            raise NotPaused(f"release_kv_cache_memory() requires {needs}")
        self.reset_prefix_cache(running_too=True)
        self._change(asleep=[KV_CACHE], shown=0)

    def wake_up(self, tags: Sequence[str] | None) -> bool:
        """Bring back these parts, by default all; when nothing is missing, the engine goes on. Whether it does."""
        asleep = self._state["asleep"]
        wanted = asleep if tags is None else [tag for tag in tags if tag != SCHEDULING]
        # As in vLLM, one tag of something else and nothing wakes.
        left = [part for part in asleep if part not in wanted] if set(wanted) <= set(asleep) else asleep
        if left:
            self._change(asleep=left)
        else:
            self._change(**_AWAKE)
        return not left

    def reset_prefix_cache(self, *, running_too: bool) -> bool:
        """Empty the prefix caches; False if one could not be, because requests run."""
        return all(self._all("reset", running_too).values())

    def abort(self, request_ids: Iterable[str] | None) -> int:
        """End requests by their ids, by default all; returns how many sequences (and groups of them) that were."""
        if request_ids is not None:
            whole = [found[1] for found in map(_PROMPT_ID.fullmatch, request_ids) if found]
            request_ids = [*request_ids, *whole]
        return sum(self._all("stop", request_ids).values())

    @property
    def idle(self) -> bool:
        """Whether no request runs or waits at any worker."""
        return all(self._all("is_idle").values())

    @property
    def _state(self) -> dict[str, Any]:
        return self._store.get(SECTION) or _AWAKE

    def _enter(self, mode: str, **fields: Any) -> None:
        """Pause all engines, and wait until the requests in flight are what the mode says."""
        self._change(ends=mode == "abort", paused="all" if mode == "keep" else "new", **fields)
        if mode != "keep":
            self._peers.ask_all(COMMAND, ("drain",), DRAIN_TIMEOUT_SECONDS)

    def _change(self, *, ends: bool = False, **fields: Any) -> None:
        """Into another state, with all workers; `ends` the requests in flight."""
        self._store.update(SECTION, lambda state: {**(state or _AWAKE), **fields})
        self._all("apply", ends)

    def _all(self, *argument: Any) -> dict[int, Any]:
        return self._peers.ask_all(COMMAND, argument, TIMEOUT_SECONDS)

    # ---- What each worker does

    def _apply(self, ends: bool) -> None:
        state = self._state
        if state["paused"] is None:
            self._engine.resume()
        else:
            self._engine.pause(hold=state["paused"] == "all", rejects=state["rejects"])
        if ends:
            self._engine.stop()
        shown = state["shown"]
        for level, name in enumerate(SLEEP_STATES):
            told = level == 0 if shown is None else level == shown and level > 0
            self._metrics.value("vllm:engine_sleep_state", name).value = float(told)

    def _drain(self) -> None:
        while self._engine.running and self._state["paused"] == "new":
            time.sleep(_POLL_SECONDS)

    def _is_idle(self) -> bool:
        return self._engine.idle

    def _reset(self, running_too: bool) -> bool:
        return self._engine.reset_prefix_cache(running_too=running_too)

    def _stop(self, request_ids: Sequence[str] | None) -> int:
        return self._engine.stop(None if request_ids is None else set(request_ids))
