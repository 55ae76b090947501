"""Request bodies that are broken: refused in vLLM's shapes, never with 500, never in HTML."""

import json
from typing import Any

import pytest
from raw_http import Connection, Reply
from server import Server

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
QUESTION = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
JSON_TYPE = {"Content-Type": "application/json"}
UNPARSABLE = b'{"detail":"There was an error parsing the body"}'


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, "/tokenize", "/detokenize"])
@pytest.mark.parametrize(
    "body",
    [
        nested(100_000),
        b'{"messages":' + nested(5000) + b"}",
        b'{"a":' * 100_000,
        b'{"prompt":"\xff\xfe"}',
        b"\xff\xff",
        b'{"max_tokens":' + b"9" * 5000 + b"}",
    ],
    ids=["deep", "deep value", "deep and cut", "no UTF-8", "no JSON", "long number"],
)
def test_what_no_parser_takes(tiny: Server, path: str, body: bytes) -> None:
    reply = tiny.request("POST", path, body, JSON_TYPE)
    assert (reply.status, reply.body, reply.header("content-type")) == (400, UNPARSABLE, "application/json")


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, "/tokenize", "/detokenize"])
@pytest.mark.parametrize("body", [b"", b" ", b"{", b"[1]", b"null", b"NaN", b'"x"', b"0", b"{}", b'{"model":"tiny"} x'])
def test_json_that_is_no_request(tiny: Server, path: str, body: bytes) -> None:
    check_refusal(tiny.request("POST", path, body, JSON_TYPE))


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_other_media_types(tiny: Server, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    reply = tiny.request("POST", CHAT, json.dumps(QUESTION).encode(), headers)
    check_refusal(reply)
    assert "Unsupported Media Type" in reply.json()["error"]["message"]


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_media_types_with_parameters(tiny: Server, content_type: str) -> None:
    reply = tiny.request("POST", CHAT, json.dumps(QUESTION).encode(), {"Content-Type": content_type})
    assert reply.status == 200


# Values that no field, or hardly any, is prepared for.
STRANGE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**63,
    10**400,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "x\0y",
    "\ud800",
    [],
    [None],
    [[]],
    [{}],
    {},
    {"": None},
    {"type": "x"},
)
FIELDS = {
    CHAT: (
        *("messages", "max_tokens", "n", "stop", "seed", "logprobs", "top_logprobs", "stream", "stream_options"),
        *("temperature", "logit_bias", "tools", "tool_choice", "response_format", "chat_template_kwargs", "model"),
        *("request_id", "priority", "cache_salt", "stop_token_ids", "truncate_prompt_tokens", "prompt_logprobs"),
    ),
    COMPLETIONS: ("prompt", "max_tokens", "n", "stop", "echo", "logprobs", "suffix", "prompt_embeds", "min_tokens"),
    "/tokenize": ("prompt", "messages", "add_special_tokens", "return_token_strs", "model"),
    "/detokenize": ("tokens", "model"),
}
COMPLETE: dict[str, dict[str, Any]] = {
    CHAT: QUESTION,
    COMPLETIONS: {"prompt": "hi", "max_tokens": 1},
    "/tokenize": {"prompt": "hi"},
    "/detokenize": {"tokens": [71]},
}


@pytest.mark.parametrize(("path", "field"), [(path, field) for path, fields in FIELDS.items() for field in fields])
def test_strange_values_never_break_the_server(tiny: Server, path: str, field: str) -> None:
    with Connection(tiny.port) as connection:
        for value in STRANGE:
            connection.send("POST", path, {**COMPLETE[path], field: value})
            reply = connection.read_reply()
            if reply.status != 200:
                check_refusal(reply)


def check_refusal(reply: Reply) -> None:
    """A 4xx or 501 in vLLM's shape; the last is for what vLLM has not implemented."""
    assert 400 <= reply.status < 500 or reply.status == 501, reply.body
    assert reply.header("content-type") == "application/json"
    document = reply.json()
    if "detail" not in document:
        assert list(document["error"]) == ["message", "type", "param", "code"]
        assert document["error"]["code"] == reply.status
