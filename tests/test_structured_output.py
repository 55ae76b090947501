"""Structured output over the socket: valid texts within max_tokens, streamed token by token, with real tokens."""

import json
import re
from typing import Any

import openai
import pydantic
import pytest
from jsonschema import Draft202012Validator
from server import INSTANT, TINY, ServerPool
from structured_schemas import SCHEMAS

MODEL = "llama2-7b"
QUESTION: list[Any] = [{"role": "user", "content": "Who is it?"}]
PERSON = SCHEMAS["person"]
GRAMMAR = """root ::= "SELECT " column " FROM " table
column ::= "a" | "b"
table ::= [a-z]+ """
LARK = """start: "select" NAME ("," NAME)* "from" NAME
NAME: /[a-z]+/
%import common.WS
%ignore WS"""
TAG = {
    "structures": [{"begin": "<f=x>", "schema": {"type": "integer"}, "end": "</f>"}],
    "triggers": ["<f="],
}


class Address(pydantic.BaseModel):
    city: str
    postal_code: str | None = None


class Person(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(ge=0, le=120)
    addresses: list[Address] = pydantic.Field(min_length=1, max_length=2)
    friend: "Person | None" = None


def said(client: openai.OpenAI, **fields: Any) -> Any:
    outputs = fields.pop("structured_outputs", None)
    body = None if outputs is None else {"structured_outputs": outputs}
    answer = client.chat.completions.create(model=MODEL, messages=QUESTION, extra_body=body, **fields)
    return answer.choices[0]


def json_schema(schema: Any) -> Any:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def test_parse_gives_a_pydantic_model(client: openai.OpenAI) -> None:
    for seed in range(5):
        answer = client.chat.completions.parse(model=MODEL, messages=QUESTION, response_format=Person, seed=seed)
        person = answer.choices[0].message.parsed
        assert isinstance(person, Person)
        assert answer.choices[0].finish_reason == "stop"


def test_json_object(client: openai.OpenAI) -> None:
    choice = said(client, response_format={"type": "json_object"})
    assert isinstance(json.loads(choice.message.content), dict)
    assert choice.finish_reason == "stop"


@pytest.mark.parametrize(
    "name", ["tree", "linked list", "deep anyOf", "discriminated", "200 properties", "not", "patterned"]
)
def test_json_schema(client: openai.OpenAI, name: str) -> None:
    schema = SCHEMAS[name]
    choice = said(client, response_format=json_schema(schema))
    assert Draft202012Validator(schema).is_valid(json.loads(choice.message.content))


@pytest.mark.parametrize(
    ("outputs", "pattern"),
    [
        ({"regex": r"[A-Z]{3}-\d{4}"}, r"[A-Z]{3}-\d{4}"),
        ({"choice": ["yes", "no, never"]}, "yes|no, never"),
        ({"grammar": GRAMMAR}, "SELECT [ab] FROM [a-z]+"),
        ({"grammar": LARK}, "select [a-z]+(,[a-z]+)*from [a-z]+|select [a-z]+(,[a-z]+)* from [a-z]+"),
        ({"structural_tag": json.dumps(TAG)}, r"[^<]*(<f=x>-?\d+</f>)*[^<]*"),
        ({"json": {"type": "integer", "minimum": 10, "maximum": 12}}, "1[012]"),
        ({"json": '{"const": "é"}'}, '"é"'),
    ],
)
def test_other_structures(client: openai.OpenAI, outputs: Any, pattern: str) -> None:
    texts = [said(client, structured_outputs=outputs, seed=seed).message.content for seed in range(8)]
    assert all(re.fullmatch(pattern, text) for text in texts), texts


def test_structural_tag_as_response_format(client: openai.OpenAI) -> None:
    form = {"type": "tag", "begin": "<n>", "content": {"type": "regex", "pattern": "[0-9]{3}"}, "end": "</n>"}
    choice = said(client, response_format={"type": "structural_tag", "format": form})
    assert re.fullmatch(r"<n>\d{3}</n>", choice.message.content)


def test_the_text_is_kept_within_max_tokens(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(
        model=MODEL, messages=QUESTION, response_format=json_schema(PERSON), temperature=0
    )
    assert whole.usage is not None
    for limit in (16, 24, 40, whole.usage.completion_tokens):
        answer = client.chat.completions.create(
            model=MODEL, messages=QUESTION, response_format=json_schema(PERSON), max_tokens=limit, seed=limit
        )
        assert answer.usage is not None
        assert answer.usage.completion_tokens <= limit
        assert answer.choices[0].finish_reason == "stop"
        assert Draft202012Validator(PERSON).is_valid(json.loads(answer.choices[0].message.content or ""))


def test_what_cannot_fit_is_cut(client: openai.OpenAI) -> None:
    choice = said(client, response_format=json_schema(PERSON), max_tokens=3)
    assert choice.finish_reason == "length"
    assert choice.message.content.startswith("{")


def test_stream_has_one_chunk_per_token(client: openai.OpenAI) -> None:
    request: dict[str, Any] = {"model": MODEL, "messages": QUESTION, "response_format": json_schema(PERSON), "seed": 3}
    whole = client.chat.completions.create(**request, logprobs=True)
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(**request, stream=True, stream_options=options))
    texts = [chunk.choices[0].delta.content for chunk in chunks[1:] if chunk.choices]
    assert whole.usage is not None
    assert "".join(text or "" for text in texts) == whole.choices[0].message.content
    assert len(texts) == whole.usage.completion_tokens == chunks[-1].usage.completion_tokens
    tokens = whole.choices[0].logprobs.content
    assert "".join(token.token for token in tokens[:-1]) == whole.choices[0].message.content


def test_seed_and_temperature(client: openai.OpenAI) -> None:
    def texts(**fields: Any) -> set[str]:
        return {said(client, response_format=json_schema(PERSON), **fields).message.content for _ in range(4)}

    assert len(texts(seed=1)) == 1
    assert len(texts(temperature=0)) == 1
    assert len(texts()) == 4


def test_stop_strings_end_the_text_inside(client: openai.OpenAI) -> None:
    choice = said(client, response_format=json_schema(PERSON), stop=['"age"'])
    assert choice.finish_reason == "stop"
    assert choice.message.content.startswith('{"name": ')
    assert "age" not in choice.message.content


def test_min_tokens_makes_the_text_longer(client: openai.OpenAI) -> None:
    short = said(client, response_format=json_schema({"type": "object", "maxProperties": 0}))
    assert short.message.content == "{}"
    answer = client.chat.completions.create(
        model=MODEL,
        messages=QUESTION,
        response_format=json_schema({"type": "object", "maxProperties": 0}),
        extra_body={"min_tokens": 30},
    )
    assert answer.usage is not None
    assert answer.usage.completion_tokens >= 30
    assert json.loads(answer.choices[0].message.content or "") == {}


def test_ignore_eos_goes_on_in_free_text(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL,
        messages=QUESTION,
        extra_body={"structured_outputs": {"choice": ["yes"]}, "ignore_eos": True},
        max_tokens=20,
    )
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 20
    assert answer.choices[0].finish_reason == "length"
    assert (answer.choices[0].message.content or "").startswith("yes")


def test_completions(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model=MODEL, prompt=["a", "b"], n=2, max_tokens=100, extra_body={"response_format": json_schema(PERSON)}
    )
    texts = [choice.text for choice in answer.choices]
    assert len(set(texts)) == 4
    assert all(Draft202012Validator(PERSON).is_valid(json.loads(text)) for text in texts)


def test_a_token_per_character(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT)
    client = server.openai()
    answer = client.chat.completions.create(
        model="tiny", messages=QUESTION, response_format=json_schema(PERSON), max_tokens=60
    )
    text = answer.choices[0].message.content or ""
    assert answer.usage is not None
    assert answer.usage.completion_tokens == len(text) + 1 <= 60
    assert Draft202012Validator(PERSON).is_valid(json.loads(text))


def test_no_white_space_where_the_operator_forbids_it(servers: ServerPool) -> None:
    config = '{"backend": "xgrammar", "disable_any_whitespace": true}'
    server = servers.get(*INSTANT, "--structured-outputs-config", config)
    client = server.openai()
    text = said(client, response_format=json_schema(PERSON)).message.content
    assert text == json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)


def test_reasoning_comes_before_the_structure(servers: ServerPool) -> None:
    server = servers.get(*INSTANT, "--reasoning-parser", "deepseek_r1")
    client = server.openai()
    for limit in (None, 120):
        choice = said(client, response_format=json_schema(PERSON), max_tokens=limit)
        assert Draft202012Validator(PERSON).is_valid(json.loads(choice.message.content))
        assert choice.message.model_extra["reasoning"]
