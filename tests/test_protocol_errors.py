"""How refusals are worded; values read from vLLM 0.33.0's answers unless they are AIBrix's."""

import ast
import copy
import json

import pytest
from protocol_support import chat_refusal

from vllm_mock.protocol import errors, messages
from vllm_mock.protocol.chat import ChatCompletionRequest
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.parsing import validate


def entry(place: tuple, value: object) -> dict:
    return {"type": "t", "loc": ("body", *place), "msg": "m", "input": value}


def place_of(*loc: str) -> str | None:
    return errors.validation_error([entry(loc, 1)]).param


def told_input(value: object) -> str:
    return ast.literal_eval(errors.validation_error([entry(("x",), value)]).message.split("\n  ", 1)[1])["input"]


@pytest.mark.parametrize("part", ["str", "Int", "list[str]", "function-wrap[f()]", "a{", "arguments", "tagged-union"])
def test_names_of_union_branches_are_no_places(part: str) -> None:
    assert place_of("stop", part) == "body.stop"


@pytest.mark.parametrize("part", ["Message", "any", "model", "function", "int32", "constrained-str", "<x>", ""])
def test_other_parts_are_places(part: str) -> None:
    assert place_of("a", part) == f"body.a.{part}"


def test_inputs_are_summed_up() -> None:
    assert told_input({"a": 1}) == "<dict of 1 items>"
    assert told_input([1, 2]) == "<list of 2 items>"
    assert told_input(None) == "None"
    assert told_input(1e308) == "1e+308"
    assert told_input("y" * 200) == "y" * 200
    assert told_input("y" * 201) == "y" * 200 + "...[truncated]"


def test_ten_errors_are_listed() -> None:
    error = errors.validation_error([entry((str(i),), i) for i in range(12)])
    lines = error.message.split("\n")
    assert lines[0] == "12 validation errors:"
    assert len(lines) == 12
    assert lines[-1] == "  ...and 2 more errors"
    assert (error.status, error.type, error.param) == (400, "Bad Request", "body.0")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/usr/lib/x.py:12", "<path>:12"),
        ("/opt/x", "<path>"),
        ("/home/u/x.txt", "<path>"),
        ("/etc/passwd", "/etc/passwd"),
        ("/usr", "/usr"),
        ("/a/b.c.d", "<path>.d"),
        ("/a.b/c/d.e", "/a.b<path>"),
        ("https://h/x.py", "https:/<path>"),
        ("1/2/3.4", "1<path>"),
        ("a/b", "a/b"),
        ("/ü/b.py", "<path>"),
        ("<x.y object at 0xABCDEF>", "<x.y object>"),
        ("a at 0x12 b", "a at 0x12 b"),
    ],
)
def test_paths_and_addresses_are_hidden(text: str, shown: str) -> None:
    assert errors.sanitize(text) == shown
    assert f"'input': '{shown}'" in chat_refusal(temperature=text).message


def test_bodies() -> None:
    assert ApiError.bad_request("no", "n", 0).body() == (
        b'{"error":{"message":"no (parameter=n, value=0)","type":"BadRequestError","param":"n","code":400}}'
    )
    assert ApiError.bad_request("no", "n").message == "no (parameter=n)"
    assert ApiError.bad_request("no").payload()["error"]["param"] is None
    assert errors.unparsable_body().body() == b'{"detail":"There was an error parsing the body"}'
    assert ApiError.model_not_found("x", ["a", "b"]).body() == (
        b'{"error":{"message":"The model `x` does not exist. Valid aliases: a, b.","type":"NotFoundError",'
        b'"param":"model","code":404}}'
    )
    assert ApiError.internal().body() == (
        b'{"error":{"message":"Internal server error","type":"InternalServerError","param":null,"code":500}}'
    )
    assert json.loads(ApiError.internal("\ud800").body())["error"]["code"] == 500


def test_full_queues() -> None:
    error = ApiError.queue_full("max_num_queued_reqs")
    assert (error.status, error.type, error.param) == (503, "Service Unavailable", None)
    assert error.message == (
        "The engine is currently busy and cannot accept new requests. "
        "Please try again later or on a different instance."
    )
    assert ApiError.queue_full("max_num_queued_tokens").message == (
        "The engine has reached its prefill token backlog limit. Please try again later or on a different instance."
    )


def test_unauthorized_as_aibrix() -> None:
    error = ApiError.unauthorized().payload()["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert (error["type"], error["param"], error["code"]) == ("authentication_error", None, "invalid_api_key")


BAD_MESSAGES = [
    {},
    5,
    {"role": "user", "content": 5},
    {"role": 7, "content": [{"type": "text"}]},
    {"role": "x", "tools": [{}]},
]


@pytest.mark.parametrize("bad", [{0: 0}, {100: 1}, {99: 2, 101: 3, 249: 4}, dict.fromkeys(range(250), 3)])
def test_a_long_list_of_messages_is_refused_as_a_short_one(monkeypatch, bad):
    """It is validated in pieces, which must not show: not in the places, the texts or the number of errors."""
    good = {"role": "user", "content": [{"type": "text", "text": "a"}]}
    body = {"messages": [BAD_MESSAGES[bad[place]] if place in bad else good for place in range(250)], "n": "many"}
    told = []
    for at_once in (100, 250):
        monkeypatch.setattr(messages, "_AT_ONCE", at_once)
        with pytest.raises(ApiError) as caught:
            validate(copy.deepcopy(body), ChatCompletionRequest)
        told.append((caught.value.message, caught.value.param))
    assert told[0] == told[1]
    assert told[0][1].startswith(f"body.messages.{min(bad)}")


def test_a_long_list_of_messages_is_taken_as_a_short_one(monkeypatch):
    kinds = [
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
        {"role": "tool", "tool_call_id": "a", "content": "b"},
    ]
    body = {"messages": [{**kinds[place % 2], "extra": place} for place in range(250)]}
    taken = []
    for at_once in (100, 250):
        monkeypatch.setattr(messages, "_AT_ONCE", at_once)
        request = validate(copy.deepcopy(body), ChatCompletionRequest)
        taken.append([{**message, "content": list(message["content"])} for message in request.messages])
    assert taken[0] == taken[1]
    assert len(taken[0]) == 250
