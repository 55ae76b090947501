"""Structured outputs that are refused or accepted; expected values from vLLM 0.33.0's answers."""

import dataclasses
import json
from pathlib import Path
from string import ascii_letters
from typing import Any

import pytest
from protocol_support import CHAT, HI, LIMITS, chat_refusal, refusal, send

from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.structural_tag import is_structural_tag
from vllm_mock.protocol.xgrammar_texts import regex_fault

# What vLLM 0.33.0 says of constraints of every kind, or null where it takes them.
_LINES = (Path(__file__).parent / "contract" / "structured.jsonl").read_text().splitlines()
RECORDED = [json.loads(line) for line in _LINES]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
TAG = {"begin": "<a>", "schema": {}, "end": "</a>"}
ANY = {"type": "any_text"}


def refused(**outputs: Any) -> str:
    return chat_refusal(structured_outputs=outputs).message


@pytest.mark.parametrize("kind", ["regex", "json", "grammar", "structural_tag", "choice"])
def test_recorded_constraints(kind: str) -> None:
    records = [record for record in RECORDED if kind in record["structured_outputs"]]
    assert len(records) > 4
    for record in records:
        said = None
        try:
            send(CHAT, {"messages": HI, "max_tokens": 1, "structured_outputs": record["structured_outputs"]})
        except ApiError as error:
            said = error.message
        assert said == record["refusal"], record


BANANA = {"json": {"type": "banana"}}
UNIQUE = {"json": {"type": "array", "uniqueItems": True}}
NEW_TAG = {"structural_tag": json.dumps({"format": ANY})}


@pytest.mark.parametrize(
    ("backend", "outputs", "message"),
    [
        ("xgrammar", UNIQUE, "The provided JSON schema contains features not supported by xgrammar."),
        ("xgrammar", {"grammar": "x"}, "Invalid grammar specification."),
        ("xgrammar", {"json": {"not": {}}}, None),
        (
            "xgrammar",
            {"json": "5"},
            "Failed to transform json schema into a grammar: The schema should be a string or a Pydantic model.",
        ),
        ("guidance", {"json": {"not": {}}}, 'Grammar error: Unimplemented keys: ["not"]'),
        ("guidance", {"json": "{"}, "Invalid grammar specification: EOF while parsing an object at line 1 column 1"),
        ("guidance", BANANA, "Grammar error: Invalid type: banana"),
        ("guidance", NEW_TAG, "Invalid grammar specification: 'triggers'"),
        ("guidance", {"json": SCHEMA}, None),
        (
            "outlines",
            {"json_object": True},
            "Outlines structured outputs backend does not support json_object specifications",
        ),
        ("outlines", UNIQUE, None),
        ("outlines", {"json": "{"}, "Invalid JSON grammar specification."),
        (
            "lm-format-enforcer",
            {"grammar": "x"},
            "LM Format Enforcer structured outputs backend does not support grammar specifications",
        ),
        ("lm-format-enforcer", {"regex": "a"}, None),
    ],
)
def test_backends(backend: str, outputs: dict, message: str | None) -> None:
    limits = dataclasses.replace(LIMITS, structured_outputs_backend=backend)
    body = {"messages": HI, "max_tokens": 1, "structured_outputs": outputs}
    if message is None:
        assert send(CHAT, body, limits).messages == HI
    else:
        assert refusal(CHAT, body, limits).message == message


def test_deep_schemas() -> None:
    schema: Any = {"type": "boolean"}
    for _ in range(63):
        schema = {"type": "array", "items": schema}
    assert send(CHAT, {"messages": HI, "structured_outputs": {"json": schema}}).messages == HI
    deeper = {"type": "array", "items": schema}
    assert refused(json=deeper) == "The JSON schema is nested too deeply: objects and arrays may nest at most 64 levels"
    assert refused(json="[" * 100_000).startswith("The JSON schema is nested too deeply")


@pytest.mark.parametrize(
    ("pattern", "marked", "words"),
    [
        ("[", "^", "unclosed character class"),
        ("(a", "^", "unclosed group"),
        ("a)", " ^", "unopened group"),
        ("*", "^", "repetition operator missing expression"),
        ("a{2,1}", " ^^^^^", "invalid repetition count range, the start must be <= the end"),
        ("[z-a]", " ^^^", "invalid character class range, the start must be <= the end"),
        ("(?=a)", "^^^", "look-around, including look-ahead and look-behind, is not supported"),
        ("(?<!a)b", "^^^^", "look-around, including look-ahead and look-behind, is not supported"),
        ("\\1", "^^", "backreferences are not supported"),
    ],
)
def test_faults_of_regular_expressions(pattern: str, marked: str, words: str) -> None:
    fault = f"regex parse error:\n    {pattern}\n    {marked}\nerror: {words}"
    quoted = json.dumps(pattern)
    head = f"Grammar error: at 1(8): invalid regex {quoted} (in regex): "
    assert refused(regex=pattern) == f"{head}{fault}\n   1 | start: /{pattern}/\n              ^"


def test_xgrammar_takes_escapes_that_mean_nothing() -> None:
    refused_letters = {letter for letter in ascii_letters if regex_fault("\\" + letter) is not None}
    assert refused_letters == set("bckupxBP")


@pytest.mark.parametrize("pattern", ["", "[ab]+", "^a$", "\\d+", "(?i)a", "/", "a\nb", "\\p{L}", "\\(?=", "[(?=]"])
def test_good_regular_expressions(pattern: str) -> None:
    assert regex_fault(pattern) is None


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ({"type": "banana"}, "Invalid type: banana"),
        ({"type": 5}, "type must be a string or array of strings"),
        ({"$ref": "#/nope"}, "Pointer '/nope' does not exist"),
        ({"type": "object", "properties": 3}, "properties must be an object"),
        ({"minimum": "x", "type": "integer"}, "Expected f64 for 'minimum', got \"x\""),
        ({"pattern": "[", "type": "string"}, "regex parse error:\n    [\n    ^\nerror: unclosed character class"),
        ({"type": "array", "items": {"type": "banana"}}, "Invalid type: banana"),
        ({"anyOf": [{"type": "null"}, {"type": "banana"}]}, "Invalid type: banana"),
    ],
)
def test_faults_of_schemas(schema: dict, fault: str) -> None:
    assert refused(json=schema) == f"Grammar error: {fault}"
    assert refused(json=json.dumps(schema)) == f"Grammar error: {fault}"


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"json": "{"}, "Invalid JSON grammar specification."),
        ({"json": "5"}, "Invalid grammar specification: Expecting object schema to apply options"),
        ({"json": " "}, "structured_outputs.json cannot be an empty string"),
        ({"choice": []}, "Choice '[]' cannot be an empty list"),
        ({"grammar": ""}, "structured_outputs.grammar cannot be an empty string"),
        (
            {"json_object": False},
            "structured_outputs.json_object must be True if set; omit structured_outputs to disable structured outputs",
        ),
    ],
)
def test_other_refusals(outputs: dict, message: str) -> None:
    assert refused(**outputs) == message


@pytest.mark.parametrize(
    ("grammar", "fault"),
    [
        ("x", "Expected ::= at line 1, 'x' ^ ''"),
        ("root ::= b", "Rule 'b' not found"),
        ("root ::= [a", "Unexpected end of input at line 1, 'root ::= [a' ^ ''"),
        ('root ::= "a', "Unexpected end of input at line 1, 'root ::= \"a' ^ ''"),
        ('b ::= "a"', "No 'root' rule found"),
    ],
)
def test_faults_of_grammars(grammar: str, fault: str) -> None:
    head = "Invalid grammar specification: Failed to convert the grammar from GBNF to Lark:"
    assert refused(grammar=grammar) == f"{head} {fault}"


@pytest.mark.parametrize(
    "fields",
    [
        {"structured_outputs": {"json": SCHEMA}},
        {"structured_outputs": {"json": json.dumps(SCHEMA)}},
        {"structured_outputs": {"choice": ["x", "y"]}},
        {"structured_outputs": {"json_object": True}},
        {"structured_outputs": {"grammar": 'root ::= "a" | b\nb ::= [0-9]+'}},
        {"structured_outputs": {"grammar": 'start: "a"'}},
        {"structured_outputs": {"structural_tag": json.dumps({"format": ANY})}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}},
        {"response_format": {"type": "text"}, "structured_outputs": {"regex": "a"}},
        {"response_format": {"type": "json_object"}, "structured_outputs": {"json_object": False}},
        {"response_format": {"type": "structural_tag", "structures": [TAG], "triggers": ["<a"]}},
    ],
)
def test_accepted(fields: dict) -> None:
    assert send(CHAT, {"messages": HI, **fields}).messages == HI


def test_two_constraints() -> None:
    error = chat_refusal(structured_outputs={"regex": "a"}, response_format={"type": "json_object"})
    assert error.message == (
        "You can only use one kind of structured outputs constraint but multiple are specified: {'json': None, "
        "'regex': 'a', 'choice': None, 'grammar': None, 'json_object': True, 'disable_any_whitespace': False, "
        "'disable_additional_properties': False, 'whitespace_pattern': None, 'structural_tag': None, "
        "'_backend': None, '_backend_was_auto': False}"
    )


@pytest.mark.parametrize(
    "value",
    [
        {"format": ANY},
        {"format": {"type": "sequence", "elements": [ANY]}},
        {"format": {"type": "tag", "begin": "<a>", "content": ANY, "end": "</a>"}},
        {
            "format": {
                "type": "triggered_tags",
                "triggers": ["<a"],
                "tags": [{"begin": "<a>", "content": ANY, "end": "</a>"}],
            }
        },
        {"structures": [TAG, TAG], "triggers": ["<a"]},
    ],
)
def test_structural_tags(value: Any) -> None:
    assert is_structural_tag(value)


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"format": {"type": "banana"}},
        {"format": {"type": "sequence", "elements": []}},
        {"format": {"type": "regex", "pattern": "["}},
        {"structures": [], "triggers": []},
        {"structures": [TAG], "triggers": []},
        {"structures": [TAG], "triggers": ["<b"]},
        {"structures": [TAG], "triggers": ["<a", "<b"]},
        {"structures": [{"begin": "<a>", "end": "</a>"}], "triggers": ["<a"]},
        {"structures": [TAG], "triggers": [""]},
    ],
)
def test_no_structural_tags(value: Any) -> None:
    assert not is_structural_tag(value)
