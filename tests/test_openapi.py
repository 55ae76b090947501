"""/openapi.json tells the truth: about the routes, and about the bodies they take. And none of them ever fails."""

import json
import random
import re
from typing import Any

import jsonschema
import pytest
from server import INSTANT, TINY, Server, ServerPool

FLAGS = ("/models/tiny", *TINY, *INSTANT, "--enable-scale-out", "--num-gpu-blocks-override", "512")
BODIES_PER_ROUTE = 24
# Each takes tenths of a second when it is asked for something large.
SLOW = ("/v1/images", "/v1/video", "/v1/audio")
WILD: list[Any] = [
    None,
    "",
    "abc",
    0,
    -1,
    2**63,
    1e308,
    1.5,
    True,
    [],
    {},
    [None],
    [[]],
    {"a": 1},
    "\0",
    "é☃",
    "x" * 300,
]
MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.fixture
def server(servers: ServerPool) -> Server:
    return servers.get(*FLAGS)


@pytest.fixture
def document(server: Server) -> Any:
    return server.get("/openapi.json").json()


def refs(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(refs, value))
    if not isinstance(value, dict):
        return set()
    own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
    return own.union(*map(refs, value.values()))


def test_every_reference_is_defined_and_every_schema_is_one(document: Any) -> None:
    schemas = document["components"]["schemas"]
    assert refs(document) <= {f"#/components/schemas/{name}" for name in schemas}
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_operations_have_names_of_their_own(document: Any) -> None:
    names = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(set(names)) == len(names)


def test_every_post_below_v1_says_what_it_takes(document: Any) -> None:
    without = {
        path
        for path, methods in document["paths"].items()
        if path.startswith(("/v1/", "/v2/", "/inference/"))
        and "requestBody" not in methods.get("post", {"requestBody": 1})
    }
    assert without == {
        "/inference/v1/abort_requests",
        "/v1/responses/{response_id}/cancel",
        "/v1/videos/{video_id}/remix",
    }


def test_paths_are_those_that_are_served(server: Server, document: Any) -> None:
    assert {"/v1/models", "/health", "/metrics", "/v1/messages", "/tokenize", "/version"} <= set(document["paths"])
    assert not {"/docs", "/openapi.json"} & set(document["paths"])
    for path, methods in document["paths"].items():
        real = re.sub(r"\{\w+\}", "1", path)
        assert server.request("TRACE", real).status != 404
        assert set(methods) <= {"get", "post", "delete", "put"}


def test_the_model_of_a_chat_is_vllms(document: Any) -> None:
    fields = document["components"]["schemas"]["ChatCompletionRequest"]
    assert fields["required"] == ["messages"]
    assert list(fields["properties"])[:4] == ["messages", "model", "frequency_penalty", "logit_bias"]
    tokens = document["components"]["schemas"]["AnthropicMessagesRequest"]
    assert tokens["required"] == ["model", "messages", "max_tokens"]


def test_pages_need_nothing_from_elsewhere(server: Server) -> None:
    for path in ("/docs", "/redoc"):
        page = server.get(path)
        assert page.header("content-type") == "text/html; charset=utf-8"
        assert b"openapi.json" in page.body
        assert b"//" not in page.body.replace(b"// A field's own", b"")


def test_no_documents_on_demand(servers: ServerPool) -> None:
    server = servers.get("/models/tiny", *TINY, *INSTANT, "--disable-fastapi-docs")
    assert [server.get(path).status for path in ("/docs", "/redoc", "/openapi.json")] == [404, 404, 404]


class Bodies:
    """Random values for schemas, most of them valid; a field here and there is not."""

    def __init__(self, document: Any, seed: str) -> None:
        self.schemas = document["components"]["schemas"]
        self.random = random.Random(seed)

    def body(self, schema: Any) -> Any:
        value = self.value(schema, 0)
        if isinstance(value, dict):
            value |= {name: MESSAGES for name in ("messages",) if self.random.random() < 0.6 and name in value}
            value |= {name: 2 for name in ("max_tokens", "max_completion_tokens") if name in value}
            value["model"] = "tiny"
            if value and self.random.random() < 0.5:
                value[self.random.choice(list(value))] = self.random.choice(WILD)
        return value

    def value(self, schema: Any, depth: int) -> Any:
        if "$ref" in schema:
            return self.value(self.schemas[schema["$ref"].rpartition("/")[2]], depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self.random.choice(schema["enum"])
        options = schema.get("anyOf") or schema.get("oneOf")
        if options:
            return self.value(self.random.choice(options if depth < 6 else options[-1:]), depth + 1)
        kind = schema.get("type")
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            shortest = schema.get("minItems", 0)
            count = shortest if depth > 6 else self.random.randint(shortest, shortest + 2)
            return [self.value(schema.get("items", {}), depth + 1) for _ in range(count)]
        return self._scalar(kind, schema)

    def _object(self, schema: Any, depth: int) -> Any:
        required = schema.get("required", ())
        chance = 0.15 if depth == 0 else 0.4 if depth < 4 else 0.0
        properties = schema.get("properties", {}).items()
        return {
            name: self.value(field, depth + 1)
            for name, field in properties
            if name in required or self.random.random() < chance
        }

    def _scalar(self, kind: str | None, schema: Any) -> Any:
        if kind == "integer":
            low = int(max(schema.get("minimum", -3), -3))
            return self.random.randint(low, int(min(schema.get("maximum", low + 9), low + 9)))
        if kind == "number":
            return self.random.uniform(0, 2)
        if kind == "boolean":
            return self.random.random() < 0.3
        if kind == "null":
            return None
        return self.random.choice(["hi", "a b", "tiny", "{}", "é☃", "1"])


def posts(document: Any) -> list[tuple[str, Any, Any]]:
    """(path, schema of the body, schema of a refusal) of each route that takes JSON."""
    found = []
    for path, methods in document["paths"].items():
        content = methods.get("post", {}).get("requestBody", {}).get("content", {})
        if "application/json" in content:
            refusal = methods["post"]["responses"]["400"]["content"]["application/json"]["schema"]
            found.append((path, content["application/json"]["schema"], refusal))
    return found


def test_no_body_makes_a_route_fail(server: Server, document: Any) -> None:
    for path, schema, refusal in posts(document):
        bodies = Bodies(document, path)
        told = jsonschema.Draft202012Validator({**refusal, "components": document["components"]})
        statuses = set()
        for _ in range(4 if path.startswith(SLOW) else BODIES_PER_ROUTE):
            body = bodies.body(schema)
            reply = server.post(path, json.dumps(body).encode(), {"Content-Type": "application/json"})
            assert reply.status < 500 or reply.status in (501, 503), (path, body, reply.body)
            statuses.add(reply.status)
            if reply.status >= 400:
                told.validate(reply.json())
        assert statuses - {404}, path
    assert server.get("/health").status == 200
