"""The fault rules in force, the same for all workers: kept in the shared store, compiled when they changed."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from vllm_mock.faults.fields import FaultError
from vllm_mock.faults.rules import ENGINE_DEATH, FREEZE_METRICS, SERVER_WIDE, UNREADY, Peek, Rule, parse
from vllm_mock.shared import Peers, SharedStore
from vllm_mock.shared.counts import ROWS

SECTION = "faults"
COMMAND = "engine_death"
_EMPTY: dict[str, Any] = {"last": 0, "rules": [], "states": {}, "frozen": None}


class Faults:
    """What goes wrong on purpose. Until there is a rule, `active` is all that is asked.

    A server-wide state (a dead engine, not ready, frozen metrics) has a begin and perhaps an end, in
    time.monotonic() seconds, which all processes of a machine share and which no change of the clock moves.
    """

    def __init__(
        self, store: SharedStore, peers: Peers, abort_all: Callable[[], Any], page: Callable[[], bytes]
    ) -> None:
        """`abort_all` ends the requests of this worker's engine, `page` renders /metrics."""
        self._store = store
        self._peers = peers
        self._abort_all = abort_all
        self._page = page
        self._version = -1
        self._raw: Any = None
        self._rules: list[Rule] = []
        # Of each kind: the rule, and the end in monotonic seconds.
        self._states: dict[str, list[tuple[int, float]]] = {}
        peers.register(COMMAND, lambda _: self._abort_all())

    @property
    def active(self) -> bool:
        """Whether there are rules."""
        if self._store.version != self._version:
            self._refresh()
        return bool(self._rules)

    @property
    def engine_dead(self) -> bool:
        """Whether requests to the engine fail."""
        return self.active and self._is_on(ENGINE_DEATH)

    @property
    def unready(self) -> bool:
        """Whether /ready says no."""
        return self.active and (self._is_on(UNREADY) or self._is_on(ENGINE_DEATH))

    def frozen_page(self) -> bytes | None:
        """What /metrics showed when it froze, None if it did not."""
        if not self.active or not self._is_on(FREEZE_METRICS):
            return None
        return self._store.get(SECTION)["frozen"].encode()

    def add(self, document: Any) -> list[int]:
        """Put rules behind those in force, all or none, and return their ids; raises FaultError."""
        specs = parse(document)
        ids: list[int] = []

        def change(known: dict[str, Any] | None) -> dict[str, Any]:
            known = known or _EMPTY
            free = sorted(set(range(ROWS)) - {rule["row"] for rule in known["rules"]})
            if len(specs) > len(free):
                raise FaultError(f"there is room for {ROWS} rules in all")
            ids[:] = range(known["last"] + 1, known["last"] + 1 + len(specs))
            added = [{"id": id, "row": row, "spec": spec} for id, row, spec in zip(ids, free, specs, strict=False)]
            for id, row in zip(ids, free, strict=False):
                self._store.counts.give(row, id)
            return {**known, "last": known["last"] + len(specs), "rules": [*known["rules"], *added]}

        self._store.update(SECTION, change)
        self._refresh()
        for rule in self._rules:
            if rule.id in ids and rule.begins_at_once:
                self._store.counts.take(rule.row, rule.id, lambda *_: True)
                self._begin(rule)
        return ids

    def remove(self, rule_id: int | None = None) -> int:
        """Forget a rule, or all, and with it what it began; returns how many there were."""
        removed = 0

        def change(known: dict[str, Any] | None) -> dict[str, Any]:
            nonlocal removed
            known = known or _EMPTY
            kept = [rule for rule in known["rules"] if rule_id is not None and rule["id"] != rule_id]
            removed = len(known["rules"]) - len(kept)
            states = {key: state for key, state in known["states"].items() if int(key) in [rule["id"] for rule in kept]}
            still_frozen = any(rule["spec"]["action"]["type"] == FREEZE_METRICS for rule in kept)
            return {**known, "rules": kept, "states": states, "frozen": known["frozen"] if still_frozen else None}

        self._store.update(SECTION, change)
        self._refresh()
        return removed

    def listed(self) -> list[dict[str, Any]]:
        """The rules with what they were given, how many requests fitted and how many were hit."""
        self._refresh()
        return [self._told(rule) for rule in self._rules]

    def hit(self, environ: Mapping[str, Any], *, is_for_model: bool, peek: Peek) -> Rule | None:
        """The first rule that hits a request, which is counted; server-wide ones have begun when this returns."""
        for rule in self._rules:
            if rule.begins_at_once or not rule.concerns(environ, is_for_model=is_for_model, peek=peek):
                continue
            if self._store.counts.take(rule.row, rule.id, rule.wants):
                if rule.kind in SERVER_WIDE:
                    self._begin(rule)
                return rule
        return None

    def _begin(self, rule: Rule) -> None:
        begin = time.monotonic()
        end = begin + rule.action["seconds"] if "seconds" in rule.action else None
        frozen = self._page().decode() if rule.kind == FREEZE_METRICS else None

        def change(known: dict[str, Any]) -> dict[str, Any]:
            if rule.id not in [known_rule["id"] for known_rule in known["rules"]]:
                return known
            changed = {**known, "states": {**known["states"], str(rule.id): [begin, end]}}
            return {**changed, "frozen": frozen} if frozen is not None else changed

        self._store.update(SECTION, change)
        if rule.kind == ENGINE_DEATH:
            self._peers.ask_all(COMMAND)

    def _told(self, rule: Rule) -> dict[str, Any]:
        matched, hits = self._store.counts.read(rule.row, rule.id)
        told = {"id": rule.id, **rule.spec, "matched": matched, "hits": hits}
        if rule.kind in SERVER_WIDE:
            told["on"] = _holds(self._states.get(rule.kind, ()), rule.id)
        return told

    def _is_on(self, kind: str) -> bool:
        return kind in self._states and _holds(self._states[kind])

    def _refresh(self) -> None:
        version = self._store.version
        raw = self._store.get(SECTION)
        if raw is not self._raw:
            known = raw or _EMPTY
            self._rules = [Rule(**rule) for rule in known["rules"]]
            states: dict[str, list[tuple[int, float]]] = {}
            for rule in self._rules:
                if (state := known["states"].get(str(rule.id))) is not None:
                    states.setdefault(rule.kind, []).append((rule.id, float("inf") if state[1] is None else state[1]))
            self._states = states
            self._raw = raw
        self._version = version


def _holds(states: Iterable[tuple[int, float]], rule_id: int | None = None) -> bool:
    now = time.monotonic()
    return any(now < end for id, end in states if rule_id is None or id == rule_id)
