"""HTTP around the routes: methods, paths, CORS, API keys, request ids, and requests that are no HTTP."""

import re

import pytest
from raw_http import Connection, Reply, connect
from server import GUARDED, POD, Server, ServerPool

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
QUESTION = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
NOT_FOUND = b'{"detail":"Not Found"}'
METHOD_NOT_ALLOWED = b'{"detail":"Method Not Allowed"}'


@pytest.fixture
def guarded(servers: ServerPool) -> Server:
    """A server with everything that an operator may put around it."""
    return servers.get(*GUARDED)


# ---- Methods and paths --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/", "/nope", "//v1/models", "/v1//models", "/V1/models", "/v1/models/tiny", "/%2e%2e/v1/models", "/v1/mod%20els"],
)
def test_unknown_paths(tiny: Server, path: str) -> None:
    reply = tiny.get(path)
    assert (reply.status, reply.body, reply.header("content-type")) == (404, NOT_FOUND, "application/json")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", CHAT, "POST"),
        ("PUT", CHAT, "POST"),
        ("OPTIONS", CHAT, "POST"),
        ("DELETE", "/v1/models", "GET"),
        ("OPTIONS", "/v1/models", "GET"),
        ("TRACE", "/health", "GET"),
        ("POST", "/health", "GET"),
        ("PATCH", "/ping", "GET"),
        ("M-SEARCH", "/health", "GET"),
        ("GET", "/tokenize", "POST"),
        ("GET", "/detokenize", "POST"),
        ("POST", "/version", "GET"),
        ("POST", "/ready", "GET"),
    ],
)
def test_wrong_methods(tiny: Server, method: str, path: str, allow: str) -> None:
    reply = tiny.request(method, path)
    assert (reply.status, reply.header("allow")) == (405, allow)
    assert (reply.body, reply.header("content-type")) == (METHOD_NOT_ALLOWED, "application/json")


@pytest.mark.parametrize("path", ["/v1/models", "/health", CHAT, "/version"])
def test_head_is_a_wrong_method_too(tiny: Server, path: str) -> None:
    with Connection(tiny.port) as connection:
        connection.send("HEAD", path)
        connection.send("GET", "/nope")
        head = connection.read_until(b"\r\n\r\n"[:2])
        while not head.endswith(b"\r\n\r\n"):
            head += connection.read_until(b"\r\n")
        assert head.startswith(b"HTTP/1.1 405 ")
        assert b"content-length: 31" in head.lower()
        # No body: the next thing on the wire is the next answer.
        assert connection.read_reply().body == NOT_FOUND


@pytest.mark.parametrize(
    ("method", "path", "target"),
    [
        ("GET", "/v1/models/", "/v1/models"),
        ("GET", "/v1/models/?a=1&b=%20x", "/v1/models?a=1&b=%20x"),
        ("POST", "/v1/chat/completions/", CHAT),
        ("GET", "/health/", "/health"),
        ("DELETE", "/v1/models/", "/v1/models"),
    ],
)
def test_a_trailing_slash_is_redirected(tiny: Server, method: str, path: str, target: str) -> None:
    reply = tiny.request(method, path, headers={"Host": "gateway.example:81"})
    assert (reply.status, reply.body) == (307, b"")
    assert reply.header("location") == f"http://gateway.example:81{target}"
    assert reply.header("content-type") is None


def test_probes(tiny: Server) -> None:
    for method, path in (("GET", "/health"), ("GET", "/ping"), ("POST", "/ping")):
        reply = tiny.request(method, path)
        assert (reply.status, reply.body, reply.header("content-type")) == (200, b"", None)
    assert tiny.get("/ready").json() == {"status": "ready"}


def test_the_pod_is_named(tiny: Server) -> None:
    bodies = [QUESTION, {**QUESTION, "stream": True}, {**QUESTION, "n": 0}]
    for reply in (tiny.get("/v1/models"), *(tiny.post(CHAT, body) for body in bodies)):
        assert reply.header("x-inference-pod") == POD["POD_NAME"]
        assert reply.header("x-inference-namespace") == POD["POD_NAMESPACE"]


# ---- CORS ---------------------------------------------------------------------------------------------------

PREFLIGHT_VARY = (
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network"
)


def preflight(server: Server, origin: str, method: str, headers: str | None = None) -> Reply:
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers is not None:
        asked["Access-Control-Request-Headers"] = headers
    return server.request("OPTIONS", "/v1/models", headers=asked)


def test_an_allowed_origin(guarded: Server) -> None:
    reply = guarded.get("/health", {"Origin": "http://a.example"})
    assert reply.header("access-control-allow-origin") == "http://a.example"
    assert reply.header("vary") == "Origin"


def test_a_foreign_origin(guarded: Server) -> None:
    reply = guarded.get("/health", {"Origin": "http://b.example"})
    assert reply.status == 200
    assert reply.header("access-control-allow-origin") is None


def test_a_granted_preflight(guarded: Server) -> None:
    reply = preflight(guarded, "http://a.example", "POST", "x-foo, authorization")
    assert (reply.status, reply.body, reply.header("content-type")) == (200, b"OK", "text/plain; charset=utf-8")
    assert reply.header("vary") == PREFLIGHT_VARY
    assert reply.header("access-control-allow-origin") == "http://a.example"
    assert reply.header("access-control-allow-headers") == "x-foo, authorization"
    assert reply.header("access-control-allow-methods") == "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY"
    assert reply.header("access-control-max-age") == "600"


@pytest.mark.parametrize(
    ("origin", "method", "refusal"),
    [
        ("http://b.example", "GET", "Disallowed CORS origin"),
        ("http://a.example", "FOO", "Disallowed CORS method"),
        ("http://b.example", "FOO", "Disallowed CORS origin, method"),
    ],
)
def test_a_refused_preflight(guarded: Server, origin: str, method: str, refusal: str) -> None:
    reply = preflight(guarded, origin, method)
    assert (reply.status, reply.body.decode()) == (400, refusal)


def test_options_without_a_preflight_is_a_wrong_method(guarded: Server) -> None:
    reply = guarded.request("OPTIONS", "/v1/models", headers={"Origin": "http://a.example"})
    assert (reply.status, reply.header("allow")) == (405, "GET")
    assert reply.header("access-control-allow-origin") == "http://a.example"


# ---- API keys -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("authorization", ["Bearer k1", "bearer k2", "bEaReR k1"])
def test_a_key_opens(guarded: Server, authorization: str) -> None:
    assert guarded.post(CHAT, QUESTION, {"Authorization": authorization}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer nope"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer  k1"},
        {"Authorization": "k1"},
        {"Authorization": "Basic k1"},
        {"Authorization": "Bearer k\u00fc"},
        {"x-api-key": "k1"},
    ],
)
def test_whoever_has_no_key_gets_an_openai_error(guarded: Server, headers: dict[str, str]) -> None:
    reply = guarded.post(CHAT, QUESTION, headers)
    assert (reply.status, reply.header("content-type")) == (401, "application/json")
    error = reply.json()["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert error.pop("message")
    assert error == {"type": "authentication_error", "param": None, "code": "invalid_api_key"}


@pytest.mark.parametrize("path", ["/v1/models", "/v1/zzz", "/v1x", "/v2/x", "/inference/x", "/cohere/v2/chat"])
def test_guarded_prefixes(guarded: Server, path: str) -> None:
    assert guarded.get(path).status == 401
    assert guarded.get(f"/proxy{path}").status == 401


@pytest.mark.parametrize("path", ["/health", "/ready", "/ping", "/metrics", "/version", "/load"])
def test_what_needs_no_key(guarded: Server, path: str) -> None:
    assert guarded.get(path).status == 200


def test_the_tokenizer_needs_no_key(guarded: Server) -> None:
    assert guarded.post("/tokenize", {"prompt": "x"}).json()["count"] == 1


def test_a_key_is_ignored_where_none_is_set(tiny: Server) -> None:
    assert tiny.post(CHAT, QUESTION, {"Authorization": "Bearer whatever"}).status == 200


# ---- Root path and request ids ------------------------------------------------------------------------------


def test_the_root_path_is_optional(guarded: Server) -> None:
    key = {"Authorization": "Bearer k1"}
    for path in ("/v1/models", "/proxy/v1/models"):
        assert guarded.get(path, key).json()["data"][0]["id"] == "tiny"
    assert guarded.get("/proxy/health").status == 200
    for path in ("/proxy", "/proxyhealth", "/proxy/proxy/health"):
        assert (guarded.get(path).status, guarded.get(path).body) == (404, NOT_FOUND)
    redirect = guarded.get("/proxy/v1/models/", {**key, "Host": "gateway"})
    assert redirect.header("location") == "http://gateway/proxy/v1/models"


def test_request_ids_are_echoed_or_made(guarded: Server) -> None:
    for path in ("/health", "/nope", "/v1/models"):
        assert guarded.get(path, {"X-Request-Id": "mine"}).header("x-request-id") == "mine"
        made = [guarded.get(path).header("x-request-id") or "" for _ in range(2)]
        assert made[0] != made[1]
        assert all(re.fullmatch("[0-9a-f]{32}", name) for name in made)


def test_a_request_id_names_the_answer(tiny: Server) -> None:
    reply = tiny.post(COMPLETIONS, {"prompt": "x", "max_tokens": 1, "request_id": "body"}, {"X-Request-Id": "header"})
    assert reply.json()["id"] == "cmpl-header"
    assert reply.header("x-request-id") is None
    assert tiny.post(COMPLETIONS, {"prompt": "x", "max_tokens": 1, "request_id": "body"}).json()["id"] == "cmpl-body"


# ---- Broken HTTP --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"FOO /health HTTP/1.1\r\n\r\n",
        b"get /health HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
    ],
)
def test_broken_http_is_answered_in_plain_text(tiny: Server, request_bytes: bytes) -> None:
    with connect(tiny.port) as connection:
        connection.sendall(request_bytes)
        answer = b""
        while data := connection.recv(65_536):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\nserver: uvicorn\r\n" in head
    assert b"html" not in answer.lower()
    assert body == b"Invalid HTTP request received."


def test_long_headers_pass(tiny: Server) -> None:
    headers = {f"X-Gateway-{number}": "x" * 30_000 for number in range(20)}
    assert tiny.get("/health", headers).status == 200


def test_long_addresses_pass(tiny: Server) -> None:
    assert tiny.get("/health?" + "q" * 30_000).status == 200


def test_a_client_cannot_set_the_path_of_the_application(tiny: Server) -> None:
    for name in ("SCRIPT_NAME", "PATH_INFO"):
        reply = tiny.get("/version", {name: "/elsewhere"})
        assert (reply.status, reply.body) == (200, b'{"version":"0.33.0"}')
