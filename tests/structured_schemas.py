"""Schemas that are hard to follow, for the tests of structured output."""

from typing import Any

TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "title": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["title", "children"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}
LIST = {
    "$defs": {
        "item": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "next": {"anyOf": [{"$ref": "#/$defs/item"}, {"type": "null"}]},
            },
            "required": ["value", "next"],
        }
    },
    "$ref": "#/$defs/item",
}


def _deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for level in range(levels):
        schema = {"anyOf": [{"type": "object", "properties": {f"p{level}": schema}, "required": [f"p{level}"]}, schema]}
    return schema


def _nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "boolean"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"inner": schema}, "required": ["inner"]}
    return schema


SCHEMAS: dict[str, Any] = {
    "anything": {},
    "true": True,
    "object": {"type": "object"},
    "person": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "email": {"type": "string", "format": "email"},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3},
        },
        "required": ["name", "age"],
        "additionalProperties": False,
    },
    "tree": TREE,
    "linked list": LIST,
    "deep anyOf": _deep(8),
    "deep object": _nested(60),
    "root recursion": {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"$ref": "#"}}]},
    "discriminated": {
        "oneOf": [
            {
                "type": "object",
                "properties": {"kind": {"const": "cat"}, "lives": {"type": "integer"}},
                "required": ["kind"],
            },
            {"type": "object", "properties": {"kind": {"const": "dog"}}, "required": ["kind"]},
        ]
    },
    "one required": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
    },
    "all of": {
        "type": "object",
        "allOf": [
            {"properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"properties": {"a": {"minLength": 4}, "b": {"type": "integer"}}},
        ],
        "unevaluatedProperties": False,
    },
    "not": {"type": "integer", "not": {"multipleOf": 2}},
    "conditional": {
        "type": "object",
        "properties": {"t": {"enum": ["a", "b"]}, "x": {"type": "string"}, "y": {"type": "number"}},
        "required": ["t"],
        "if": {"properties": {"t": {"const": "a"}}},
        "then": {"required": ["x"]},
        "else": {"required": ["y"]},
    },
    "cents": {"type": "number", "multipleOf": 0.01, "minimum": 1, "exclusiveMaximum": 2},
    "narrow": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.001},
    "steps": {"type": "integer", "multipleOf": 7, "minimum": 15, "maximum": 30},
    "large": {"type": "integer", "minimum": 10**20},
    "negative": {"type": "number", "maximum": -5.5},
    "old exclusive": {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1, "exclusiveMinimum": True},
    "pattern": {"type": "string", "pattern": r"^[A-Z]{3}-\d{4}$"},
    "pattern and length": {"type": "string", "pattern": "^[A-Z]{2}", "minLength": 10, "maxLength": 12},
    "backreference": {"type": "string", "pattern": r"^(ab|cd)x\1$"},
    "long": {"type": "string", "minLength": 300},
    "short": {"type": "string", "maxLength": 3},
    "type list": {"type": ["string", "null"], "enum": ["a", None, 5]},
    "const": {"const": {"a": [1, "é\n"]}},
    "3000 values": {"enum": [f"value-{index}" for index in range(3000)]},
    "200 properties": {
        "type": "object",
        "properties": {f"p{index}": {"type": "string"} for index in range(200)},
        "required": [f"p{index}" for index in range(0, 200, 2)],
    },
    "tuple": {"prefixItems": [{"type": "string"}, {"type": "number"}], "items": False, "minItems": 2, "type": "array"},
    "old tuple": {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "array",
        "items": [{"type": "string"}, {"type": "number"}],
        "additionalItems": {"type": "null"},
        "minItems": 3,
    },
    "contains": {"type": "array", "contains": {"type": "integer", "minimum": 5}, "minContains": 2},
    "unique": {
        "type": "array",
        "items": {"type": "integer", "minimum": 3, "maximum": 9},
        "uniqueItems": True,
        "minItems": 6,
    },
    "both booleans": {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True, "minItems": 2},
    "patterned": {
        "type": "object",
        "patternProperties": {"^x_": {"type": "integer"}},
        "additionalProperties": False,
        "minProperties": 3,
    },
    "property names": {
        "type": "object",
        "propertyNames": {"pattern": "^[a-z]{3}$"},
        "additionalProperties": {"type": "boolean"},
        "minProperties": 2,
    },
    "dependent": {
        "type": "object",
        "properties": {"credit": {"type": "number"}, "address": {"type": "string"}},
        "dependentRequired": {"credit": ["address"]},
    },
    "dependent schema": {
        "type": "object",
        "properties": {"credit": {"type": "number"}},
        "dependentSchemas": {"credit": {"properties": {"address": {"type": "string"}}, "required": ["address"]}},
    },
    "at most one": {"type": "object", "properties": {name: {"type": "null"} for name in "abc"}, "maxProperties": 1},
    "anchor": {"$defs": {"x": {"$anchor": "there", "type": "boolean"}}, "$ref": "#there"},
    "escaped pointer": {"$defs": {"a/b~c": {"type": "null"}}, "$ref": "#/$defs/a~1b~0c"},
    **{
        f"format {name}": {"type": "string", "format": name}
        for name in (
            "date-time",
            "date",
            "time",
            "email",
            "uuid",
            "uri",
            "ipv4",
            "ipv6",
            "hostname",
            "regex",
            "json-pointer",
        )
    },
}
