"""Faults on purpose over HTTP: each action, counts over all workers, what metrics show, refusals, injected errors."""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from raw_http import END_OF_CHUNKS, Connection
from server import APP, GTHREAD, INSTANT, ROOT, TINY, Server, ServerPool
from waiting_support import eventually

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
MESSAGES = "/v1/messages"
RULES = "/mock/faults"
SLOW = (*TINY, "--time-to-first-token", "0", "--inter-token-latency", "2ms", "--metrics-mode", "live")


def chat(**parameters: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 8, "ignore_eos": True, **parameters}


def counted(server: Server, line: str) -> float:
    page = server.get("/metrics").body.decode()
    found = re.search("^" + re.escape(line) + r"(?:,[^}]*)?\} (\S+)$", page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def add(server: Server, action: str, rule: dict[str, Any] | None = None, **parameters: Any) -> int:
    reply = server.post(RULES, {**(rule or {}), "action": {"type": action, **parameters}})
    assert reply.status == 200, reply.body
    return reply.json()["ids"][0]


def listed(server: Server) -> list[dict[str, Any]]:
    return server.get(RULES).json()["rules"]


def clear(server: Server) -> None:
    assert server.request("DELETE", RULES).status == 200


@pytest.fixture(params=[APP, GTHREAD])
def server(request: pytest.FixtureRequest, servers: ServerPool) -> Iterator[Server]:
    found = servers.get(*SLOW, runner=request.param, environ={"POD_NAME": "faults"})
    yield found
    clear(found)


@pytest.fixture
def app(servers: ServerPool) -> Iterator[Server]:
    """One worker class is enough for what does not touch sockets."""
    found = servers.get(*SLOW, environ={"POD_NAME": "faults"})
    yield found
    clear(found)


def broken(server: Server, body: dict[str, Any], path: str = CHAT) -> tuple[bytes, bool]:
    """(what came, whether it ended with a reset) of an answer that does not come to its end."""
    with Connection(server.port) as connection:
        connection.send("POST", path, body)
        connection.socket.settimeout(10)
        seen = b""
        try:
            while data := connection.socket.recv(65_536):
                seen += data
        except ConnectionResetError:
            return seen, True
        return seen, False


def texts(seen: bytes) -> int:
    """How many chunks carry a text."""
    return len(re.findall(rb'"delta":\{"content":"[^"]', seen))


@pytest.mark.parametrize(("how", "reset"), [("rst", True), ("fin", False)])
def test_disconnect(server: Server, how: str, reset: bool) -> None:
    add(server, "disconnect", {"times": 2}, after_tokens=3, how=how)
    seen, was_reset = broken(server, chat(stream=True))
    assert (texts(seen), was_reset) == (3, reset)
    assert not seen.endswith(END_OF_CHUNKS)
    seen, was_reset = broken(server, chat())
    assert seen.startswith(b"HTTP/1.1 200 OK")
    assert was_reset is reset
    clear(server)
    add(server, "disconnect", {"times": 1}, how=how)
    assert broken(server, chat(stream=True)) == (b"", reset)
    # All the slots are free again, and the next request is served.
    assert server.post(CHAT, chat()).status == 200
    assert server.gauge("vllm:num_requests_running") == 0


def test_a_connection_that_is_cut_before_its_answer_counts_as_no_answer(app: Server) -> None:
    def answers() -> list[str]:
        lines = app.get("/metrics").body.decode().splitlines()
        return [line for line in lines if line.startswith(f'http_requests_total{{handler="{CHAT}"')]

    before = answers()
    add(app, "disconnect", {"times": 1})
    broken(app, chat())
    assert answers() == before
    assert "Traceback" not in app.logged()


def test_truncate_and_malformed(server: Server) -> None:
    add(server, "truncate", {"times": 2}, after_tokens=2)
    seen, reset = broken(server, chat(stream=True))
    assert (texts(seen), reset) == (2, False)
    assert re.search(rb'data: \{"id":"chatcmpl-[0-9a-f]+","object":"chat[^\n]{0,80}\r\n$', seen)
    seen, _ = broken(server, chat())
    head, _, body = seen.partition(b"\r\n\r\n")
    assert int(re.findall(rb"Content-Length: (\d+)", head)[0]) == len(body) + (len(body) + 1)
    clear(server)
    add(server, "malformed", {"times": 2}, after_tokens=2)
    events = server.post(CHAT, chat(stream=True)).events()
    bad = [event for event in events[:-1] if not is_json(event.removeprefix(b"data: "))]
    assert (len(bad), events.index(bad[0]), events[-1]) == (1, 3, b"data: [DONE]")
    whole = server.post(CHAT, chat())
    assert (whole.status, is_json(whole.body)) == (200, False)


def is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def test_stall_and_slow_first_token(server: Server) -> None:
    for action, place in (("stall", {"after_tokens": 2}), ("stall", {}), ("slow_first_token", {})):
        for stream in (True, False):
            clear(server)
            add(server, action, {"times": 1}, seconds=0.3, **place)
            began = time.monotonic()
            reply = server.post(CHAT, chat(stream=stream))
            assert reply.status == 200
            assert 0.3 <= time.monotonic() - began < 3
            assert not stream or len(reply.chunks()) == 9


@pytest.mark.parametrize("simulation", ["", "a100"])
def test_a_slow_first_token_shows_in_the_metrics(servers: ServerPool, simulation: str) -> None:
    environ = {"POD_NAME": "faults"} | ({"SIMULATION": simulation} if simulation else {})
    server = servers.get(*SLOW, environ=environ)
    before = server.gauge("vllm:time_to_first_token_seconds_sum")
    add(server, "slow_first_token", {"times": 1}, seconds=0.4)
    assert len(server.post(CHAT, chat(stream=True)).chunks()) == 9
    assert 0.4 <= server.gauge("vllm:time_to_first_token_seconds_sum") - before < 3
    add(server, "engine_death", {"match": {}, "times": 1})
    assert server.post(CHAT, chat()).status == 500
    clear(server)
    assert server.post(CHAT, chat()).status == 200


def test_an_endless_stall_ends_with_the_client(server: Server) -> None:
    add(server, "stall", {"times": 2}, after_tokens=1)
    for stream in (True, False):
        with Connection(server.port) as connection:
            connection.send("POST", CHAT, chat(stream=stream, max_tokens=200))
            if stream:
                connection.read_until(b'{"content":"')
            time.sleep(0.1)
    assert server.post(CHAT, chat()).status == 200
    eventually(lambda: server.gauge("vllm:num_requests_running") == 0, 5)


@pytest.mark.parametrize(
    ("path", "end"),
    [
        (CHAT, b'data: {"error":{"message":"x","type":"InternalServerError","param":null,"code":500}}'),
        (COMPLETIONS, b'data: {"error": {"message": "x", "type": "InternalServerError", "param": null, "code": 500}}'),
        (MESSAGES, b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"x"}}'),
    ],
)
def test_an_error_in_the_middle_of_a_stream(app: Server, path: str, end: bytes) -> None:
    add(app, "stream_error", {"times": 2}, after_tokens=2, message="x")
    failed = 'vllm:request_success_total{engine="0",finished_reason="error"'
    before = counted(app, failed)
    body = {"prompt": "hi", "max_tokens": 8, "ignore_eos": True} if path == COMPLETIONS else chat(model="tiny")
    events = app.post(path, {**body, "stream": True}).events()
    if path == MESSAGES:
        assert events[-2].startswith(b"event: content_block_stop\n")
        assert events[-1] == end
    else:
        assert events[-2:] == [end, b"data: [DONE]"]
    whole = app.post(path, body)
    assert (whole.status, whole.json()["error"]["message"]) == (500, "x")
    assert counted(app, failed) == before + 2
    assert app.gauge("vllm:num_requests_running") == 0


ENDS = {
    "vllm:request_success_total": 1,
    "vllm:request_prompt_tokens_count": 1,
    "vllm:request_generation_tokens_count": 1,
    "vllm:e2e_request_latency_seconds_count": 1,
    "vllm:request_prefill_time_seconds_count": 1,
    "vllm:request_params_n_count": 0,
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        *((CHAT, {"n": 1}), (CHAT, {"n": 2}), (MESSAGES, {"model": "tiny"}), (COMPLETIONS, {"prompt": "hi"})),
        *(("/v1/responses", {"input": "hi"}), ("/v1/embeddings", {"input": "hi"})),
    ],
)
@pytest.mark.parametrize("instant", [False, True])
def test_an_injected_error_counts_as_one_of_the_engine(
    servers: ServerPool, path: str, body: dict[str, Any], stream: bool, instant: bool
) -> None:
    """Whatever family shows a request that ended well shows it, once a sequence, and as an error."""
    server = servers.get(*TINY, *INSTANT, "--metrics-mode", "live") if instant else servers.get(*SLOW)
    clear(server)
    add(server, "stream_error", {"times": 1}, after_tokens=2)

    def seen() -> list[float]:
        errors = server.gauge("vllm:request_success_total", finished_reason="error")
        return [errors, *map(server.gauge, ENDS), server.gauge("vllm:num_requests_running")]

    before = seen()
    # There are no streams of embeddings.
    server.post(path, {**chat(stream=stream and path != "/v1/embeddings"), **body})
    clear(server)
    n = body.get("n", 1)
    expected = [n, *(n if each else 1 for each in ENDS.values()), 0]
    assert [now - then for now, then in zip(seen(), before, strict=True)] == expected


def test_a_slow_first_token_of_what_has_none(app: Server) -> None:
    add(app, "slow_first_token", {"times": 1}, seconds=0.3)
    began = time.monotonic()
    assert app.post("/v1/embeddings", {"input": "a"}).status == 200
    assert 0.3 <= time.monotonic() - began < 3


def test_errors_carry_what_a_client_needs_for_its_next_try(app: Server) -> None:
    add(app, "error", {"times": 1}, status=429, retry_after=1.5, rate_limit={"limit": 9, "remaining": 0, "reset": 2})
    reply = app.post(CHAT, chat(stream=True))
    assert reply.status == 429
    names = ("retry-after", "retry-after-ms", "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests")
    assert [reply.header(name) for name in names] == ["2", "1500", "9", "0"]
    assert reply.header("x-ratelimit-reset-requests") == "2s"
    error = {"message": "Injected error: Too Many Requests.", "type": "RateLimitError", "param": None, "code": 429}
    assert reply.json() == {"error": error}
    add(app, "error", {"times": 1}, status=529)
    reply = app.post(MESSAGES, chat(model="tiny"))
    assert (reply.status, reply.json()["error"]["type"]) == (529, "api_error")
    own = {"Content-Type": "text/html", "X-A": "b"}
    add(app, "error", {"times": 1, "match": {"route": "/v1/models"}}, status=502, body="<html>", headers=own, delay=0.1)
    assert app.post(CHAT, chat()).status == 200
    reply = app.get("/v1/models")
    told = (reply.status, reply.body, reply.header("content-type"), reply.header("x-a"))
    assert told == (502, b"<html>", "text/html", "b")
    told = 'http_requests_total{handler="/v1/models",method="GET",status="5xx"'
    assert counted(app, told) == 1


def test_match(app: Server) -> None:
    def hits(match: dict[str, Any], *requests: dict[str, Any]) -> str:
        clear(app)
        add(app, "error", {"match": match}, status=418)
        told = ""
        for request in requests:
            headers = request.pop("headers", {})
            told += "x" if app.request("POST", CHAT, chat(**request), headers).status == 418 else "."
        return told

    assert hits({"route": ["/v1/c*", "/nowhere"]}, {}) == "x"
    assert hits({"route": COMPLETIONS}, {}) == "."
    assert hits({"method": "GET", "route": "*"}, {}) == "."
    assert hits({"model": "alias2"}, {"model": "alias2"}, {"model": "tiny"}, {}) == "x.."
    assert hits({"stream": True}, {"stream": True}, {"stream": False}, {}) == "x.."
    by_header = ({"headers": {"X-User": "ann"}}, {"headers": {"X-User": "bob"}}, {})
    assert hits({"header": {"x-user": "a*"}}, *map(dict, by_header)) == "x.."
    assert hits({"header": {"x-user": None}}, *map(dict, by_header)) == "..x"
    assert hits({"nth": [2, 4]}, *[{} for _ in range(5)]) == ".x.x."
    assert hits({"nth": 1}, *[{} for _ in range(3)]) == "x.."
    assert hits({"every": 3}, *[{} for _ in range(7)]) == "..x..x."
    # Neither probes nor the rules' own route are meant when no route is named.
    clear(app)
    add(app, "error")
    assert (app.get("/health").status, app.get("/v1/models").status, app.get(RULES).status) == (200, 200, 200)
    assert listed(app)[0]["matched"] == 0


def test_a_probability_with_a_seed_repeats_itself(app: Server) -> None:
    drawn = []
    for _ in range(2):
        clear(app)
        add(app, "error", {"probability": 0.5, "seed": 7}, status=503)
        drawn.append([app.post(CHAT, chat(max_tokens=1)).status for _ in range(20)])
    assert drawn[0] == drawn[1]
    assert 3 <= drawn[0].count(503) <= 17
    assert (listed(app)[0]["matched"], listed(app)[0]["hits"]) == (20, drawn[0].count(503))


def test_the_first_rule_that_hits_wins(app: Server) -> None:
    app.post(RULES, [{"times": 1, "action": {"type": "error", "status": 429}}, {"action": {"type": "error"}}])
    assert [app.post(CHAT, chat()).status for _ in range(3)] == [429, 503, 503]
    first, second = listed(app)
    assert (first["matched"], first["hits"], second["matched"], second["hits"]) == (3, 1, 2, 2)
    assert app.request("DELETE", f"{RULES}/{second['id']}").status == 200
    assert app.request("DELETE", f"{RULES}/{second['id']}").status == 404
    assert app.post(CHAT, chat()).status == 200


def test_the_engine_dies_and_recovers(server: Server) -> None:
    with Connection(server.port) as streaming, Connection(server.port) as waiting:
        streaming.send("POST", CHAT, chat(stream=True, max_tokens=200))
        streaming.read_until(b'{"content":"')
        waiting.send("POST", CHAT, chat(max_tokens=200))
        add(server, "engine_death")
        dead = "The server had an error while processing your request."
        error = {"message": dead, "type": "InternalServerError", "param": None, "code": 500}
        end = f'data: {{"error":{json.dumps(error, separators=(",", ":"))}}}\n\n'
        streaming.read_until(end.encode().strip())
        reply = waiting.read_reply()
        assert (reply.status, reply.json()) == (500, {"error": error})
    assert server.gauge("vllm:num_requests_running") == 0
    health = server.get("/health")
    assert (health.status, health.body) == (503, b"")
    assert (server.get("/ready").status, server.get("/v1/models").status) == (503, 200)
    for stream in (True, False):
        reply = server.post(CHAT, chat(stream=stream))
        assert (reply.status, reply.json()) == (500, {"error": error})
    assert server.post("/v1/embeddings", {"input": "a"}).json() == {"error": error}
    assert listed(server)[0]["on"] is True
    clear(server)
    assert (server.get("/health").status, server.get("/ready").status) == (200, 200)
    # After a while by itself, begun by the second request.
    add(server, "engine_death", {"match": {"nth": 2}}, seconds=0.3)
    assert [server.post(CHAT, chat()).status for _ in range(3)] == [200, 500, 500]
    time.sleep(0.3)
    assert server.post(CHAT, chat()).status == 200
    assert listed(server)[0]["on"] is False


def test_not_ready(app: Server) -> None:
    add(app, "unready")
    assert (app.get("/ready").status, app.get("/health").status, app.post(CHAT, chat()).status) == (503, 200, 200)
    clear(app)
    assert app.get("/ready").status == 200


def test_frozen_metrics(app: Server) -> None:
    add(app, "freeze_metrics")
    frozen = app.get("/metrics").body
    app.post(CHAT, chat())
    assert app.get("/metrics").body == frozen
    clear(app)
    assert app.get("/metrics").body != frozen


def test_counts_are_exact_over_all_workers_and_survive_one(launch: Any) -> None:
    server = launch(*TINY, *INSTANT, "--data-parallel-size", "2")
    add(server, "error", {"times": 30}, status=503)
    statuses: list[int] = []

    def ask() -> None:
        statuses.extend(server.post(CHAT, chat()).status for _ in range(15))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (statuses.count(503), statuses.count(200)) == (30, 30)
    clear(server)
    add(server, "error", {"times": 40}, status=503)
    add(server, "unready")
    statuses = [server.post(CHAT, chat()).status for _ in range(25)]
    victim = server.workers()[0]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: victim not in server.workers() and len(server.workers()) == 2, 30)
    assert statuses == [503] * 25
    statuses = [server.post(CHAT, chat()).status for _ in range(25)]
    assert statuses == [503] * 15 + [200] * 10
    assert [(rule["matched"], rule["hits"]) for rule in listed(server)] == [(50, 40), (1, 1)]
    assert {server.get("/ready").status for _ in range(10)} == {503}


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        (None, "rule: expected an object"),
        (7, "rule: expected an object"),
        ({}, "the key 'action' is missing"),
        ({"action": {}}, "expected one of error, slow_first_token, stall, disconnect, truncate, malformed, stream"),
        (
            {"action": {"type": "error", "stats": 1}},
            "unknown key 'stats'; valid keys: type, status, message, error_type",
        ),
        (
            {"action": {"type": "error", "status": "429"}},
            "rule.action.status: '429' is not possible; expected a status",
        ),
        ({"action": {"type": "error", "status": True}}, "expected a status from 200 to 599"),
        ({"action": {"type": "error", "headers": {"a": "b\r\nc: d"}}}, "rule.action.headers"),
        ({"action": {"type": "error", "headers": {"Content-Length": "1"}}}, "none of them about the framing"),
        ({"action": {"type": "slow_first_token"}}, "the key 'seconds' is missing"),
        ({"action": {"type": "stall", "seconds": 1e400}}, "expected seconds from 0 to 86400"),
        ({"action": {"type": "disconnect", "how": "hard"}}, "expected one of rst, fin"),
        (
            {"action": {"type": "error"}, "match": {"path": "/"}},
            "valid keys: route, method, model, stream, header, nth",
        ),
        (
            {"action": {"type": "error"}, "match": {"nth": 0}},
            "rule.match.nth: 0 is not possible; expected a number from 1",
        ),
        ({"action": {"type": "error"}, "probability": 2}, "expected a number from 0 to 1"),
        ({"action": {"type": "error"}, "times": 0}, "expected a number from 1 on"),
        ({"rules": 7}, "expected a list of rules"),
        ([{"action": {"type": "error"}}, {"action": {"type": "eror"}}], "rules[1].action.type: 'eror'"),
        ([{"action": {"type": "error"}}] * 300, "room for 256 rules"),
    ],
)
def test_bad_rules_are_refused_all_or_nothing(app: Server, document: Any, complaint: str) -> None:
    reply = app.post(RULES, json.dumps(document).encode())
    assert (reply.status, reply.json()["error"]["type"]) == (400, "BadRequestError")
    assert complaint in reply.json()["error"]["message"]
    assert listed(app) == []


def test_protect_admin_asks_for_the_key(servers: ServerPool) -> None:
    guarded = servers.get(*TINY, *INSTANT, "--api-key", "k1", "k2", "--protect-admin")
    for method in ("POST", "GET", "DELETE"):
        assert guarded.request(method, RULES).status == 401
        assert guarded.request(method, RULES + "/1", headers={"Authorization": "Bearer k3"}).status == 401
    assert guarded.get(RULES, {"Authorization": "Bearer k2"}).json() == {"rules": []}


def test_the_header_x_return_error(app: Server) -> None:
    def returned(value: str, path: str = CHAT) -> tuple[int, str]:
        reply = app.request("POST", path, chat(stream=True), {"X-Return-Error": value})
        return reply.status, "" if reply.status == 200 else reply.json()["error"]["type"]

    kinds = {429: "RateLimitError", 500: "InternalServerError", 503: "ServiceUnavailableError", 502: "Bad Gateway"}
    for status, kind in kinds.items():
        assert returned(str(status)) == (status, kind)
    assert returned("429", MESSAGES) == (429, "rate_limit_error")
    for value in ("many", "", "200", "-1", "99999999999999999999"):
        assert returned(value) == (400, "BadRequestError")
    assert app.request("POST", "/v1/embeddings", {"input": "a"}, {"X-Return-Error": "500"}).status == 200


def test_failures_are_injected_at_a_rate(servers: ServerPool) -> None:
    always = servers.get(*TINY, *INSTANT, "--failure-injection-rate", "100", "--seed", "1")
    seen = {}
    for _ in range(60):
        error = always.post(CHAT, chat())
        seen[error.status, error.json()["error"]["type"]] = error.json()["error"]["message"]
    assert {status for status, _ in seen} == {429, 401, 400, 503, 404}
    assert seen[404, "NotFoundError"].startswith("The model `tiny-nonexistent` does not exist.")
    assert always.post("/v1/embeddings", {"input": "a"}).status == 200
    assert always.request("POST", CHAT, chat(), {"X-Return-Error": "507"}).status == 507
    flags = ("--failure-injection-rate", "50", "--failure-types", "rate_limit,server_error", "--seed", "1")
    some = servers.get(*TINY, *INSTANT, *flags)
    statuses = [some.post(CHAT, chat()).status for _ in range(60)]
    assert set(statuses) == {200, 429, 503}
    assert 15 <= statuses.count(200) <= 45


def test_every_rule_of_the_documentation_is_one(app: Server) -> None:
    text = (ROOT / "docs" / "faults.md").read_text()
    rules = re.findall(r"\| `(\{.*?\})`(?: \||:| on)", text)
    assert len(rules) == text.split("## Recipes")[1].count("\n| ") - 1
    for rule in rules:
        assert app.post(RULES, rule.encode()).status == 200, rule
        clear(app)
