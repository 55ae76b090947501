"""Values for JSON schemas, drawn by hypothesis: most of them valid, with a wild value here and there."""

from typing import Any

from hypothesis import strategies as st

WILD: list[Any] = [
    None,
    "",
    "abc",
    0,
    -1,
    2**63,
    1e308,
    1.5,
    True,
    [],
    {},
    [None],
    [[]],
    {"a": 1},
    "\0",
    "é☃",
    "x" * 300,
]
TEXTS = ("hi", "a b", "tiny", "{}", "é☃", "1")
_DEEP, _DEEPEST = 4, 6
wild = st.sampled_from(WILD)


def values(schema: Any, schemas: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """What a schema describes; `schemas` are those that it refers to by name."""
    if "$ref" in schema:
        return st.deferred(lambda: values(schemas[schema["$ref"].rpartition("/")[2]], schemas, depth))
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        shown = options if depth < _DEEPEST else options[-1:]
        return st.sampled_from(shown).flatmap(lambda option: values(option, schemas, depth + 1))
    if schema.get("type") == "object":
        return _objects(schema, schemas, depth)
    if schema.get("type") == "array":
        shortest = schema.get("minItems", 0)
        longest = shortest if depth > _DEEPEST else shortest + 2
        return st.lists(values(schema.get("items", {}), schemas, depth + 1), min_size=shortest, max_size=longest)
    return _scalars(schema)


@st.composite
def _objects(draw: Any, schema: Any, schemas: Any, depth: int) -> dict[str, Any]:
    fields = schema.get("properties", {})
    required = set(schema.get("required", ()))
    optional = [name for name in fields if name not in required]
    most = 0 if depth >= _DEEP or not optional else 5
    chosen = required | set(draw(st.lists(st.sampled_from(optional), max_size=most, unique=True)) if most else ())
    return {name: draw(values(field, schemas, depth + 1)) for name, field in fields.items() if name in chosen}


def _scalars(schema: Any) -> st.SearchStrategy[Any]:
    kind = schema.get("type")
    if kind == "integer":
        low = int(max(schema.get("minimum", -3), -3))
        return st.integers(low, int(min(schema.get("maximum", low + 9), low + 9)))
    if kind == "number":
        return st.floats(0, 2)
    if kind == "boolean":
        return st.booleans()
    return st.none() if kind == "null" else st.sampled_from(TEXTS)


@st.composite
def bodies(draw: Any, schema: Any, schemas: Any) -> Any:
    """A request: it asks the served model for little, and every second one has a wild field."""
    value = draw(values(schema, schemas))
    if not isinstance(value, dict):
        return value
    if "messages" in value and draw(st.booleans()):
        value["messages"] = [{"role": "user", "content": "hi"}]
    value |= {name: 2 for name in ("max_tokens", "max_completion_tokens", "max_output_tokens") if name in value}
    value["model"] = "tiny"
    if draw(st.booleans()):
        value[draw(st.sampled_from(list(value)))] = draw(wild)
    return value
