"""Requests made from the server's own /openapi.json, mostly right and partly not at all: never a 500, never silence.

`make test` repeats the same requests each time; `make fuzz` makes new ones, as many as FUZZ_EXAMPLES says.
"""

import os
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from raw_http import Connection
from server import INSTANT, TINY, Server, ServerPool

from vllm_mock.routes.http import ADMIN_PREFIXES

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
DEEPEST = 4
TEXTS = ("", "a", "tiny", "auto", "none", "json_object", "user", "a\0b", "\ud800", "é😀", "-1", "x" * 300, "^(a|b)*$")
NUMBERS = (0, 1, 2, -1, 5, 0.5, 1.0, -0.0, 1e308, 2**31, 2**63, 10**400, float("nan"), float("-inf"))
MESSAGES = [{"role": "user", "content": "hi"}]
# So that many requests come past the first checks.
BASE: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": MESSAGES, "max_tokens": 3},
    "/v1/completions": {"prompt": "hi", "max_tokens": 3},
    "/v1/messages": {"model": "tiny", "messages": MESSAGES, "max_tokens": 3},
    "/v1/responses": {"input": "hi", "max_output_tokens": 3},
    "/v1/embeddings": {"input": "hi"},
}


class Bodies:
    """Makes request bodies from JSON schemas."""

    def __init__(self, document: dict[str, Any], random: Random) -> None:
        self._document = document
        self._random = random

    def body(self, path: str, schema: dict[str, Any]) -> Any:
        """A body for a route."""
        if self._random.random() < 0.05:
            return self._anything(0)
        body = self._value(schema, 0)
        return {**body, **BASE.get(path, {})} if isinstance(body, dict) and self._random.random() < 0.8 else body

    def _value(self, schema: Any, depth: int) -> Any:
        choice = self._random
        if not isinstance(schema, dict) or choice.random() < 0.06 or depth > DEEPEST:
            return self._anything(depth)
        if "$ref" in schema:
            return self._value(self._resolved(schema["$ref"]), depth)
        for key in ("anyOf", "oneOf", "allOf"):
            if key in schema:
                return self._value(choice.choice(schema[key]), depth + 1)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return choice.choice(schema["enum"])
        return self._of_type(schema, depth)

    def _of_type(self, schema: dict[str, Any], depth: int) -> Any:
        choice = self._random
        kind = schema.get("type")
        if kind == "object":
            named = schema.get("properties", {})
            required = schema.get("required", ())
            chosen = [name for name in named if name in required or choice.random() < 0.12]
            return {name: self._value(named[name], depth + 1) for name in chosen}
        if kind == "array":
            return [self._value(schema.get("items"), depth + 1) for _ in range(choice.randint(0, 2))]
        if kind in ("integer", "number"):
            return choice.choice((0, 1, 2, 3)) if choice.random() < 0.8 else choice.choice(NUMBERS)
        if kind == "boolean":
            return choice.random() < 0.5
        return choice.choice(TEXTS) if kind == "string" else self._anything(depth)

    def _anything(self, depth: int) -> Any:
        kind = self._random.randint(0, 5 if depth <= DEEPEST else 3)
        if kind == 4:
            return [self._anything(depth + 1) for _ in range(self._random.randint(0, 3))]
        if kind == 5:
            names = (*TEXTS[:6], "type", "content", "text")
            return {self._random.choice(names): self._anything(depth + 1) for _ in range(self._random.randint(0, 3))}
        return self._random.choice((None, True, False)) if kind == 0 else self._random.choice((*TEXTS, *NUMBERS))

    def _resolved(self, reference: str) -> Any:
        found: Any = self._document
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]
        return found


@pytest.fixture(scope="module")
def fuzzed(servers: ServerPool) -> Server:
    parser = ("--enable-auto-tool-choice", "--tool-call-parser", "hermes")
    return servers.get(*TINY, *INSTANT, *parser, "--enable-scale-out")


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(route, schema of its JSON body) of those that change nothing in the server."""
    found = []
    for path, item in document["paths"].items():
        content = item.get("post", {}).get("requestBody", {}).get("content", {})
        if "application/json" in content and not path.startswith(ADMIN_PREFIXES) and "{" not in path:
            found.append((path, content["application/json"]["schema"]))
    return found


def test_no_request_breaks_the_server(fuzzed: Server) -> None:
    document = fuzzed.get("/openapi.json").json()
    routes = operations(document)
    assert {"/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses"} <= {path for path, _ in routes}
    statuses: dict[int, int] = {}

    @settings(
        max_examples=EXAMPLES or 300,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.randoms(use_true_random=False))
    def asks(random: Random) -> None:
        path, schema = random.choice(routes)
        body = Bodies(document, random).body(path, schema)
        with Connection(fuzzed.port) as connection:
            connection.send("POST", path, body)
            reply = connection.read_reply()
        statuses[reply.status] = statuses.get(reply.status, 0) + 1
        assert reply.status < 500 or reply.status == 501, (path, body, reply.body)

    asks()
    assert statuses.keys() >= {200, 400}
    assert "Traceback" not in fuzzed.logged()
