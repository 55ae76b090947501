"""JSON texts for schemas: valid, within the length where that is possible, sensible to read."""

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.validators import validator_for
from structured_schemas import LIST, SCHEMAS, TREE
from structured_strategies import SCHEMAS as DRAWN

from vllm_mock.generation.draws import Draws
from vllm_mock.generation.structured import json_text
from vllm_mock.generation.structured.json_source import JsonSource

PERSON = SCHEMAS["person"]
# Its "time" lacks the offset that RFC 3339 asks for.
FORMATS = FormatChecker(set(FormatChecker.checkers) - {"time"})


def valid(schema: Any, value: Any) -> bool:
    checked = validator_for(schema, default=Draft202012Validator)
    return checked(schema, format_checker=FORMATS).is_valid(value)


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_every_text_is_valid(schema: Any) -> None:
    source = JsonSource(schema)
    for key in range(12):
        for most in (1200, 60, 0):
            text = source.text(Draws(key * 7919 + most), most)
            assert valid(schema, json.loads(text)), text


@pytest.mark.parametrize("schema", [PERSON, TREE, LIST, SCHEMAS["200 properties"], SCHEMAS["deep anyOf"]])
def test_texts_keep_to_a_length_that_is_possible(schema: Any) -> None:
    source = JsonSource(schema)
    lengths = [source.shortest + more for more in (0, 10, 40, 150, 600)]
    for key, most in enumerate(lengths):
        assert len(source.text(Draws(key), most)) <= most
    assert max(len(source.text(Draws(key), lengths[-1])) for key in range(9)) > source.shortest + 20


def test_the_same_draws_give_the_same_text_and_others_another() -> None:
    assert json_text(PERSON, Draws(1)) == json_text(PERSON, Draws(1))
    assert len({json_text(PERSON, Draws(key)) for key in range(20)}) > 15


def test_optional_properties_are_mostly_there() -> None:
    values = [json.loads(json_text(PERSON, Draws(key))) for key in range(100)]
    assert 70 < sum("email" in value for value in values) < 100
    assert all(list(value) == [name for name in PERSON["properties"] if name in value] for value in values)


def test_values_suit_the_names_of_properties() -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "year": {"type": "integer"}},
        "required": ["city", "year"],
    }
    value = json.loads(json_text(schema, Draws(3)))
    assert value["city"].istitle()
    assert 1990 <= value["year"] <= 2026


def test_a_schema_that_nothing_satisfies_gives_some_json() -> None:
    for schema in (
        False,
        {"enum": []},
        {"type": "string", "not": {}},
        {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}},
    ):
        json.loads(json_text(schema, Draws(1)))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(DRAWN, st.sampled_from((None, 60, 0)), st.integers(0, 99))
def test_drawn_schemas(schema: Any, most: float | None, key: int) -> None:
    source = JsonSource(schema)
    assume(source.shortest < math.inf)
    assert Draft202012Validator(schema).is_valid(json.loads(source.text(Draws(key), most)))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "minItems": 10**9, "items": {"type": "array", "minItems": 10**9}},
        {"type": "string", "minLength": 10**12},
        {"type": "string", "pattern": "((a|b){1000}){1000}"},
        {"type": "object", "minProperties": 10**9},
        {"type": "integer", "minimum": -(10**400)},
        {"type": "array", "uniqueItems": True, "minItems": 500, "items": {"enum": list(range(200))}},
        {"allOf": [{"anyOf": [{"required": [f"{row}-{column}"]} for column in range(4)]} for row in range(9)]},
    ],
)
def test_what_is_too_much_is_not_tried(schema: Any) -> None:
    assert len(JsonSource(schema).text(Draws(1), 100, longest=2000)) < 20_000
