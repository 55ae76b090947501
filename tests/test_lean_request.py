"""Our reader of usual requests against gunicorn's parser: whatever bytes come, both see the same request."""

from itertools import pairwise
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vllm_mock.serving.lean_request import LeanRequest, may_read
from vllm_mock.serving.patience import PatientRequest

CLIENT, SERVER = ("10.0.0.9", 4711), ("10.0.0.1", 8000)
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def config() -> Config:
    """As gunicorn.conf.py sets what concerns requests."""
    cfg = Config()
    values = {
        "limit_request_line": 0,
        "limit_request_fields": 5,
        "limit_request_field_size": 65_536,
        "forwarder_headers": "",
        "forwarded_allow_ips": "*",
        "secure_scheme_headers": {"X-FORWARDED-PROTO": "https"},
    }
    for name, value in values.items():
        cfg.set(name, value)
    return cfg


CFG = config()


def seen(kind: type[Request], pieces: list[bytes]) -> Any:
    """What a reader makes of bytes that come in these pieces: the request, its body and what is left; or the error."""
    unreader = IterUnreader(iter(pieces))
    sock: Any = None
    try:
        request = kind(CFG, unreader, CLIENT)
        environ = getattr(request, "environ", None)
        if environ is None:
            environ = wsgi.create(request, sock, CLIENT, SERVER, CFG)[1]
        else:
            environ = request.addressed(sock, CLIENT, SERVER)
        body = request.body.read()
    except (Exception, StopIteration) as error:
        return type(error), str(error)
    ours = {key: value for key, value in environ.items() if not key.startswith(("wsgi.errors", "wsgi.input", "wsgi.e"))}
    rest = b"".join(iter(unreader.read, b""))
    attributes = (request.method, request.uri, request.path, request.query, request.fragment, request.version)
    return ours, attributes, request.headers, request.scheme, request.should_close(), body, rest


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [piece for start, end in pairwise(places) if (piece := data[start:end])]


# Mostly what is usual, each time with something that is not.
USUAL_FIELDS = st.sampled_from(
    (
        *(b"Host: a", b"content-type: application/json", b"Content-Length: 2", b"content-length:0", b"X-A: b"),
        *(b"x-a:\t c \t", b"Authorization: Bearer k", b"Accept:", b"Connection: close", b"CONNECTION: keep-alive"),
        *(b"X-Umlaut: \xe4\xff", b"X-A: d:e", b"User-Agent: x (y; z)", b"PATH-INFO: /x"),
    )
)
UNUSUAL_FIELDS = st.sampled_from(
    (
        *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip", b"Expect: 100-continue", b"Expect: x"),
        *(b"X-Forwarded-Proto: https", b"x-forwarded-proto: http", b"X_A: b", b"SCRIPT_NAME: /x", b"Host : a"),
        *(b"Content-Length: +2", b"Content-Length: \xb2", b"Content-Length: 2 2", b"Content-Length: " + b"9" * 20),
        *(b"Content-Length:", b"Content-Length: 7", b"Content-Length: " + b"0" * 9000, b"Connection: x, Close"),
        *(b"X: a\x01", b"X: a\rb", b"X: a\nb", b" folded", b"no colon", b":"),
        *(b"n\xe4me: x", b"a b: c", b"Host: second", b"Upgrade: h2c", b"X-A: \x7f"),
    )
)
TARGETS = st.sampled_from(
    (
        *(b"/", b"/v1/models", b"/a?b=c&d", b"/a%20b?x%20y", b"/[a]"),
        *(b"//a", b"/a#f", b"/a?b#c", b"*", b"a", b"http://h/a?b", b"/\xe4", b"/a b", b"", b"/a\tb", b"/a\x7f"),
    )
)
LINES = st.builds(
    lambda method, target, version: b" ".join((method, target, version)),
    st.sampled_from((b"GET", b"POST", b"POST", b"PUT", b"OPTIONS", b"get", b"", b"GET ")),
    TARGETS,
    st.sampled_from((b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"")),
)
USUAL_LINES = st.sampled_from(
    tuple(
        method + b" " + target + b" HTTP/1.1"
        for method in (b"GET", b"POST")
        for target in (b"/", b"/v1/models", b"/a?b=c&d", b"/a%20b?x%20y", b"/%ff%00", b"/a;b=c?", b"/a//b/", b"/a?b?c")
    )
)
FIELDS = st.lists(USUAL_FIELDS, max_size=6, unique_by=lambda field: field[:9].lower()) | st.lists(
    USUAL_FIELDS | UNUSUAL_FIELDS, max_size=6
)
REQUESTS = st.builds(
    lambda before, line, fields, end, body: before + end.join([line, *fields, b"", b""]) + body,
    st.sampled_from((b"", b"", b"", b"\r\n")),
    USUAL_LINES | LINES,
    FIELDS,
    st.sampled_from((b"\r\n", b"\r\n", b"\r\n", b"\n")),
    st.sampled_from((b"", b"ab", b"abGET / HTTP/1.1\r\n\r\n", b"2\r\nab\r\n0\r\n\r\n", b"\r\n\r\n")),
)


@settings(max_examples=1500, deadline=None)
@given(st.one_of(REQUESTS, st.binary(max_size=40)), st.lists(st.integers(0, 400), max_size=3))
@example(CHAT, [])
@example(CHAT + CHAT, [])
@example(CHAT, [len(CHAT) - 1])
def test_both_see_the_same(data: bytes, cuts: list[int]) -> None:
    assert seen(LeanRequest, pieces(data, cuts)) == seen(PatientRequest, pieces(data, cuts))


def test_the_usual_request_takes_the_short_way() -> None:
    assert LeanRequest(CFG, IterUnreader(iter([CHAT])), CLIENT).environ is not None
    assert LeanRequest(CFG, IterUnreader(iter([CHAT[:-2], b"{}"])), CLIENT).environ is not None
    assert LeanRequest(CFG, IterUnreader(iter([CHAT[:9], CHAT[9:]])), CLIENT).environ is None


def test_settings_that_ask_for_more_are_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    assert may_read(CFG)
    for name, value in (("proxy_protocol", "auto"), ("limit_request_line", 100), ("limit_request_field_size", 100)):
        cfg = config()
        cfg.set(name, value)
        assert not may_read(cfg)
    monkeypatch.setenv("SCRIPT_NAME", "/elsewhere")
    assert not may_read(CFG)
