"""Which JSON types the parameters of a function may have, for markup that does not tell them apart."""

from collections.abc import Iterator, Sequence
from typing import Any

_NAMES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
_STRING = frozenset(("string",))
_DEEPEST = 8


def parameter_types(functions: Sequence[Any], name: str) -> dict[str, frozenset[str]]:
    """The types of each parameter of a tool; "string" where its schema says nothing."""
    schema = next((tool.function.parameters for tool in functions if tool.function.name == name), None)
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        return {}
    return {key: frozenset(_types(part, schema, 0)) or _STRING for key, part in properties.items()}


def _types(schema: Any, root: Any, depth: int) -> Iterator[str]:
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return
    kind = schema.get("type")
    yield from [kind] if isinstance(kind, str) else kind or ()
    for value in [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else ())]:
        yield _NAMES.get(type(value), "null")
    for word in ("anyOf", "oneOf", "allOf"):
        for part in schema.get(word) or ():
            yield from _types(part, root, depth + 1)
    if isinstance(schema.get("$ref"), str):
        yield from _types(_target(schema["$ref"], root), root, depth + 1)


def _target(reference: str, root: Any) -> Any:
    value = root
    for step in reference.removeprefix("#/").split("/"):
        value = value.get(step) if isinstance(value, dict) else None
    return value
