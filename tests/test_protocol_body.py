"""Bytes, media types and JSON; expected values from vLLM 0.33.0's answers."""

import json

import pytest
from protocol_support import CHAT, check, refusal

from vllm_mock.protocol.body import parse_json
from vllm_mock.protocol.errors import ApiError

JSON = "application/json"
BAD_MEDIA_TYPE = "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed"


def refused(raw: bytes, content_type: str | None = JSON) -> ApiError:
    with pytest.raises(ApiError) as caught:
        check(CHAT, raw, {} if content_type is None else {"Content-Type": content_type})
    return caught.value


@pytest.mark.parametrize(
    ("raw", "offset", "words"),
    [
        (b'{"model":"tiny",', 16, "Expecting property name enclosed in double quotes"),
        (b" ", 1, "Expecting value"),
        (b'{"a":1}x', 7, "Extra data"),
        (b'{"a" 1}', 5, "Expecting ':' delimiter"),
        (b'{"a":01}', 6, "Expecting ',' delimiter"),
        (b'{"a":"\x01"}', 6, "Invalid control character at"),
        (b'{"a":"\\x"}', 6, "Invalid \\escape"),
        ('{"ü":1,}'.encode(), 7, "Expecting property name enclosed in double quotes"),
        (b"\xff\xfe", 0, "Expecting value"),
    ],
)
def test_broken_json(raw: bytes, offset: int, words: str) -> None:
    error = refused(raw)
    assert error.param == f"body.{offset}"
    told = {"type": "json_invalid", "loc": f"body.{offset}", "msg": "JSON decode error", "input": "<dict of 0 items>"}
    assert error.message == f"1 validation error:\n  {told | {'ctx': {'error': words}}!r}"


@pytest.mark.parametrize(
    "raw",
    [b'{"a":\xff}', b'{"n":' + b"1" * 5000 + b"}", b"[" * 5000 + b"]" * 5000, b'{"a":' * 5000 + b"1" + b"}" * 5000],
)
def test_unreadable_bodies(raw: bytes) -> None:
    assert refused(raw).payload() == {"detail": "There was an error parsing the body"}


@pytest.mark.parametrize("raw", [b"", b"null"])
def test_no_body(raw: bytes) -> None:
    error = refused(raw)
    told = "{'type': 'missing', 'loc': 'body', 'msg': 'Field required', 'input': 'None'}"
    assert (error.message, error.param) == (f"1 validation error:\n  {told}", "body")


@pytest.mark.parametrize(("value", "shown"), [([1, 2], "<list of 2 items>"), ("x", "x"), (5, "5"), (True, "True")])
def test_body_that_is_no_object(value: object, shown: str) -> None:
    error = refusal(CHAT, value)
    words = "Input should be a valid dictionary or object to extract fields from"
    told = {"type": "model_attributes_type", "loc": "body", "msg": words, "input": shown}
    assert (error.message, error.param) == (f"1 validation error:\n  {told!r}", "body")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_json_in_other_encodings(encoding: str) -> None:
    assert parse_json('{"ü": 1}'.encode(encoding), JSON) == {"ü": 1}


@pytest.mark.parametrize("content_type", [JSON, "APPLICATION/JSON", f"{JSON};", f"{JSON}; charset=latin-1"])
def test_accepted_media_types(content_type: str) -> None:
    assert parse_json(b"[1]", content_type) == [1]


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "text/json", f"{JSON}x", f"{JSON}, text/plain", "*/*", f"{JSON} ;x"]
)
def test_refused_media_types(content_type: str | None) -> None:
    error = refused(b'{"messages":[]}', content_type)
    assert (error.status, error.type, error.param, error.message) == (400, "Bad Request", None, BAD_MEDIA_TYPE)


@pytest.mark.parametrize(
    ("content_type", "json_first"), [("application/vnd.api+json", True), (f"{JSON} ;x", True), ("text/json", False)]
)
def test_broken_json_is_told_before_a_media_type_that_claims_json(content_type: str, json_first: bool) -> None:
    assert (refused(b"{bad", content_type).param == "body.1") is json_first


def test_special_numbers() -> None:
    message = refused(json.dumps({"messages": float("nan")}).encode()).message
    assert message == "'float' object is not iterable"
    assert "got inf" in refused(b'{"messages":[{"role":"user","content":"x"}],"temperature":1e400}').message
