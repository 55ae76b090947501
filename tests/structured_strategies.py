"""Schemas, drawn: satisfiable by construction more often than not, never larger than a screen."""

from typing import Any

from hypothesis import strategies as st

NAMES = ("name", "age", "tags", "x", "status", "été")
FORMATS = ("date-time", "date", "email", "uuid", "ipv4", "uri", "hostname", "duration")
PATTERNS = ("^[a-z]+$", r"^\d{3}-\d{4}$", "^(foo|bar)*x", r"[A-Z]\w{2,5}", "^.{2,4}$", r"^[^\s@]+@[a-z]+\.com$", "a|b|")

booleans = st.just({"type": "boolean"})
nulls = st.just({"type": "null"})
enums = st.lists(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 999), st.text('abé\n"', max_size=4)),
    min_size=1,
    max_size=5,
).map(lambda values: {"enum": values})


@st.composite
def integers(draw: Any) -> dict[str, Any]:
    low = draw(st.none() | st.integers(-1000, 1000))
    schema: dict[str, Any] = {"type": "integer"}
    if low is not None:
        schema[draw(st.sampled_from(("minimum", "exclusiveMinimum")))] = low
    if draw(st.booleans()):
        schema["maximum"] = (low or 0) + draw(st.integers(30, 2000))
    if draw(st.integers(0, 3)) == 0:
        schema["multipleOf"] = draw(st.integers(1, 15))
    return schema


@st.composite
def numbers(draw: Any) -> dict[str, Any]:
    low = draw(st.none() | st.floats(-100, 100).map(lambda value: round(value, 3)))
    schema: dict[str, Any] = {"type": "number"}
    if low is not None:
        schema[draw(st.sampled_from(("minimum", "exclusiveMinimum")))] = low
    if draw(st.booleans()):
        span = draw(st.sampled_from((0.01, 1, 77.5)))
        schema[draw(st.sampled_from(("maximum", "exclusiveMaximum")))] = (low or 0) + span
    return schema


@st.composite
def strings(draw: Any) -> dict[str, Any]:
    kind = draw(st.sampled_from(("plain", "pattern", "format", "lengths")))
    if kind == "pattern":
        return {"type": "string", "pattern": draw(st.sampled_from(PATTERNS))}
    if kind == "format":
        return {"type": "string", "format": draw(st.sampled_from(FORMATS))}
    if kind == "lengths":
        low = draw(st.integers(0, 40))
        return {"type": "string", "minLength": low, "maxLength": low + draw(st.integers(0, 20))}
    return {"type": "string"}


scalars = st.one_of(booleans, nulls, enums, integers(), numbers(), strings(), st.just({}), st.just(True))


def _arrays(inner: Any) -> Any:
    @st.composite
    def arrays(draw: Any) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "array", "items": draw(inner)}
        low = draw(st.integers(0, 3))
        if draw(st.booleans()):
            schema["minItems"] = low
        if draw(st.booleans()):
            schema["maxItems"] = low + draw(st.integers(0, 3))
        if draw(st.integers(0, 3)) == 0:
            schema["prefixItems"] = draw(st.lists(inner, min_size=1, max_size=2))
        return schema

    return arrays()


def _objects(inner: Any) -> Any:
    @st.composite
    def objects(draw: Any) -> dict[str, Any]:
        properties = draw(st.dictionaries(st.sampled_from(NAMES), inner, max_size=5))
        schema: dict[str, Any] = {"type": "object", "properties": properties}
        schema["required"] = [name for name in properties if draw(st.booleans())]
        if draw(st.booleans()):
            schema["additionalProperties"] = draw(st.just(False) | inner)
        if draw(st.integers(0, 3)) == 0:
            schema["patternProperties"] = {"^p_": draw(inner)}
        if draw(st.integers(0, 3)) == 0 and properties:
            schema["minProperties"] = draw(st.integers(0, len(properties)))
        if draw(st.integers(0, 3)) == 0 and len(properties) > 1:
            first, second, *_ = properties
            schema["dependentRequired"] = {first: [second]}
        return schema

    return objects()


def _unions(inner: Any) -> Any:
    branches = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        branches.map(lambda parts: {"anyOf": parts}),
        inner.map(lambda part: {"allOf": [part, {"title": "t"}]}),
        inner.map(lambda part: {"if": {"type": "string"}, "then": {"not": {"const": "a"}}, "allOf": [part]}),
        inner.map(lambda part: {"$defs": {"d/e": part}, "anyOf": [{"type": "null"}, part]}),
    )


SCHEMAS = st.recursive(scalars, lambda inner: st.one_of(_arrays(inner), _objects(inner), _unions(inner)), max_leaves=8)
