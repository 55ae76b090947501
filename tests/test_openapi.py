"""/openapi.json tells the truth: about the routes, and about the bodies they take. And none of them ever fails."""

import json
import re
from typing import Any
from urllib.parse import quote, urlencode

import anthropic.types
import jsonschema
import openai.types.responses
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schema_strategies import bodies, wild
from server import INSTANT, TINY, Server, ServerPool

FLAGS = ("/models/tiny", *TINY, *INSTANT, "--enable-scale-out", "--num-gpu-blocks-override", "512")
BODIES_PER_ROUTE = 20
# Each takes tenths of a second when it is asked for something large.
SLOW = ("/v1/images", "/v1/video", "/v1/audio")
# Rules of faults are there to make requests fail; a server that is scaled drains for as long as it is told.
LEFT_ALONE = ("/mock/faults", "/scale_elastic_ep", "/debug/elastic_ep")
# What answers are to the clients that read them.
MODELS: dict[str, Any] = {
    "/v1/chat/completions": openai.types.chat.ChatCompletion,
    "/v1/chat/completions/batch": openai.types.chat.ChatCompletion,
    "/v1/completions": openai.types.Completion,
    "/v1/responses": openai.types.responses.Response,
    "/v1/messages": anthropic.types.Message,
    "/v1/messages/count_tokens": anthropic.types.MessageTokensCount,
    "/v1/images/generations": openai.types.ImagesResponse,
}
SEGMENTS = st.sampled_from(["1", "é", "..", "a b"])
WORDS = st.sampled_from(["", "1", "true", "wait", "%00", "é", "x" * 300])
FILES = {
    name: st.sampled_from([("a.wav", b"RIFF"), ("a.png", b"\x89PNG\r\n\x1a\n"), ("", b""), (None, "text")])
    for name in ("file", "image", "mask")
}


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


def test_no_body_makes_a_route_fail(server: Server, document: Any) -> None:
    for path, schema, refusal in posts(document):
        told = jsonschema.Draft202012Validator({**refusal, "components": document["components"]})
        statuses = statuses_of(server, path, bodies(schema, document["components"]["schemas"]), told)
        assert statuses - {404}, path
    assert server.get("/health").status == 200


def statuses_of(server: Server, path: str, some: st.SearchStrategy[Any], told: Any) -> set[int]:
    """What a route answers to some bodies; fails if that is not what it should be."""
    statuses = set()

    @bounded(3 if path.startswith(SLOW) else BODIES_PER_ROUTE)
    @given(body=some)
    def is_answered(body: Any) -> None:
        reply = server.post(path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        assert reply.status < 500 or reply.status in (501, 503), (path, reply.body)
        statuses.add(reply.status)
        if reply.status >= 400:
            told.validate(reply.json())
        elif path in MODELS and reply.header("content-type") == "application/json" and speaks_for_itself(body):
            MODELS[path].model_validate_json(reply.body)

    is_answered()
    return statuses


def speaks_for_itself(body: Any) -> bool:
    """Otherwise the answer goes on with the last message and has its role, which openai's types do not know."""
    return body.get("add_generation_prompt", True) is True


def posts(document: Any) -> list[tuple[str, Any, Any]]:
    """(path, schema of the body, schema of a refusal) of each route that takes JSON."""
    found = []
    for path, methods in document["paths"].items():
        content = methods.get("post", {}).get("requestBody", {}).get("content", {})
        if "application/json" in content:
            refusal = methods["post"]["responses"]["400"]["content"]["application/json"]["schema"]
            found.append((path, content["application/json"]["schema"], refusal))
    return found


def test_no_path_query_or_form_makes_a_route_fail(server: Server, document: Any) -> None:
    """Nor a body where none is described."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" not in content and path not in LEFT_ALONE:
                form = content.get("multipart/form-data", {}).get("schema")
                some = None if form is None else bodies(form, document["components"]["schemas"])
                check_operation(server, method, path, operation, some)
    assert server.get("/health").status == 200


def check_operation(server: Server, method: str, path: str, operation: Any, form: Any) -> None:
    """Some requests to it; what they do to the engine is undone after each."""
    names = [parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"]

    @bounded(2 if path.startswith(SLOW) else 5)
    @given(data=st.data())
    def is_answered(data: st.DataObject) -> None:
        real = re.sub(r"\{\w+\}", lambda _: quote(data.draw(SEGMENTS)), path)
        query = urlencode([(name, data.draw(WORDS)) for name in names if data.draw(st.booleans())])
        sent: Any = {}
        if form is not None:
            fields = data.draw(form) | data.draw(st.fixed_dictionaries({}, optional=FILES))
            sent = {"files": [(name, field(value)) for name, value in fields.items()]}
        elif method == "post":
            sent = {"json": data.draw(wild)}
        reply = requests.request(method, f"{server.base_url}{real}?{query}", timeout=30, **sent)
        assert reply.status_code < 500 or reply.status_code in (501, 503), (method, real, query, reply.text)
        if reply.status_code >= 400 and reply.content:
            assert reply.json().keys() <= {"error", "detail", "type"}
        for undo in ("/wake_up", "/resume"):
            assert server.post(undo, {}).status == 200

    is_answered()


def bounded(examples: int) -> Any:
    """So many examples, the same in each run."""
    unhealthy = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    return settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=unhealthy
    )


def field(value: Any) -> Any:
    """A part of a form: a file, or a text."""
    return value if isinstance(value, tuple) else (None, value if isinstance(value, str) else json.dumps(value))
