"""Fault rules: which requests they are for, how often, and what becomes of those."""

import random
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from vllm_mock.faults import fields
from vllm_mock.faults.fields import FaultError, Field, check_fields

# Those that concern the whole server; without `match` they begin at once.
ENGINE_DEATH, UNREADY, FREEZE_METRICS = "engine_death", "unready", "freeze_metrics"
SERVER_WIDE = (ENGINE_DEATH, UNREADY, FREEZE_METRICS)

_PLACE: dict[str, Field] = {"after_tokens": fields.TOKENS}
ACTIONS: dict[str, dict[str, Field]] = {
    "error": {
        "status": fields.integer(200, 599, "a status from 200 to 599"),
        "message": fields.TEXT,
        "error_type": fields.TEXT,
        "param": fields.TEXT,
        "code": fields.ANYTHING,
        "body": fields.ANYTHING,
        "headers": fields.HEADERS,
        "retry_after": fields.SECONDS,
        "rate_limit": fields.RATE_LIMIT,
        "delay": fields.SECONDS,
    },
    "slow_first_token": {"seconds": fields.SECONDS},
    "stall": {**_PLACE, "seconds": fields.SECONDS},
    "disconnect": {**_PLACE, "how": fields.one_of("rst", "fin")},
    "truncate": _PLACE,
    "malformed": _PLACE,
    "stream_error": {**_PLACE, "message": fields.TEXT},
    ENGINE_DEATH: {"seconds": fields.SECONDS},
    UNREADY: {"seconds": fields.SECONDS},
    FREEZE_METRICS: {"seconds": fields.SECONDS},
}
_REQUIRED = {"slow_first_token": ("seconds",)}

_MATCH: dict[str, Field] = {
    "route": fields.TEXTS,
    "method": fields.TEXTS,
    "model": fields.TEXTS,
    "stream": fields.SWITCH,
    "header": fields.WANTED_HEADERS,
    "nth": fields.NUMBERS,
    "every": fields.integer(1, 10**9, "a number from 1 on"),
}
_RULE: dict[str, Field] = {
    "name": fields.TEXT,
    "match": fields.OBJECT,
    "times": fields.integer(1, 10**9, "a number from 1 on"),
    "probability": fields.number(0, 1, "a number from 0 to 1"),
    "seed": fields.integer(0, 10**9, "a number from 0 on"),
    "action": fields.OBJECT,
}

Peek = Callable[[], Mapping[str, Any]]


def parse(document: Any) -> list[dict[str, Any]]:
    """The checked rules of a document: one rule, a list of them, or {"rules": [...]}. Raises FaultError."""
    if isinstance(document, dict) and "rules" in document:
        document = check_fields("body", document, {"rules": fields.ANYTHING})["rules"]
        if not isinstance(document, list):
            raise FaultError("body.rules: expected a list of rules")
    if isinstance(document, list):
        return [_checked(f"rules[{number}]", rule) for number, rule in enumerate(document)]
    return [_checked("rule", document)]


def _checked(place: str, rule: Any) -> dict[str, Any]:
    checked = check_fields(place, rule, _RULE, ("action",))
    if "match" in checked:
        checked["match"] = check_fields(f"{place}.match", checked["match"], _MATCH)
    action = checked["action"]
    kind = action.get("type")
    if not isinstance(kind, str) or kind not in ACTIONS:
        raise FaultError(f"{place}.action.type: {kind!r} is not possible; expected one of {', '.join(ACTIONS)}")
    known = {"type": fields.TEXT, **ACTIONS[kind]}
    checked["action"] = check_fields(f"{place}.action", action, known, _REQUIRED.get(kind, ()))
    if "probability" in checked:
        checked.setdefault("seed", secrets.randbelow(10**9))
    return checked


@dataclass(slots=True)
class Rule:
    """A rule in force. `row` is where its requests are counted."""

    id: int
    row: int
    spec: dict[str, Any]
    match: dict[str, Any] = field(init=False)
    action: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.match = self.spec.get("match") or {}
        self.action = self.spec["action"]

    @property
    def kind(self) -> str:
        """The type of its action."""
        return self.action["type"]

    @property
    def begins_at_once(self) -> bool:
        """Whether it waits for no request."""
        return self.kind in SERVER_WIDE and "match" not in self.spec

    def concerns(self, environ: Mapping[str, Any], *, is_for_model: bool, peek: Peek) -> bool:
        """Whether a request fits, whatever its number. `peek` gives model and stream of its body."""
        match = self.match
        route = match.get("route")
        if not is_for_model if route is None else not _fits(environ["PATH_INFO"], route):
            return False
        if "method" in match and not _fits(environ["REQUEST_METHOD"], match["method"]):
            return False
        if not all(_header_fits(environ, name, wanted) for name, wanted in match.get("header", {}).items()):
            return False
        if "model" not in match and "stream" not in match:
            return True
        body = peek()
        if "model" in match and not _fits(str(body.get("model")), match["model"]):
            return False
        return "stream" not in match or bool(body.get("stream")) == match["stream"]

    def wants(self, number: int, taken: int) -> bool:
        """Whether the `number`-th request that fits is hit, `taken` having been before; the same in every worker."""
        if taken >= self.spec.get("times", number):
            return False
        nth, every = self.match.get("nth"), self.match.get("every")
        if nth is not None and number not in (nth if isinstance(nth, list) else [nth]):
            return False
        if every is not None and number % every:
            return False
        probability = self.spec.get("probability")
        return probability is None or random.Random(f"{self.spec['seed']}:{number}").random() < probability


def _fits(value: str, patterns: str | list[str]) -> bool:
    return any(fnmatchcase(value, pattern) for pattern in ([patterns] if isinstance(patterns, str) else patterns))


def _header_fits(environ: Mapping[str, Any], name: str, wanted: str | None) -> bool:
    key = name.upper().replace("-", "_")
    value = environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}")
    if wanted is None or value is None:
        return value is wanted
    return fnmatchcase(value, wanted)
