"""Which JSON schemas xgrammar takes, or leaves to llguidance.

vLLM itself hands on schemas with certain keywords, since xgrammar would not hold to them; others are faulty.
Found by asking vLLM 0.33.0.
"""

from collections.abc import Iterator
from typing import Any

from vllm_mock.protocol.xgrammar_texts import is_regex

_TYPES = frozenset(("null", "boolean", "object", "array", "number", "string", "integer"))
_FORMATS = frozenset(
    (
        *("email", "date", "time", "date-time", "duration", "ipv4", "ipv6", "hostname", "uuid", "uri"),
        *("uri-reference", "uri-template", "json-pointer", "relative-json-pointer"),
    )
)
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_OBJECT_WORDS = ("properties", "required", "additionalProperties", "patternProperties", "unevaluatedProperties")
_ARRAY_WORDS = ("items", "prefixItems", "unevaluatedItems")


def takes(schema: dict[str, Any]) -> bool:
    """Whether vLLM leaves the schema to xgrammar."""
    return not has_foreign_keywords(schema) and not is_faulty(schema)


def is_faulty(schema: dict[str, Any]) -> bool:
    """Whether xgrammar cannot take the schema."""
    return _Faults(schema).of(schema)


def has_pattern_properties(schema: Any) -> bool:
    """Whether the schema would be left to outlines rather than to llguidance."""
    if isinstance(schema, dict) and "patternProperties" in schema:
        return True
    return any(map(has_pattern_properties, _inner(schema)))


def _inner(value: Any) -> Iterator[Any]:
    """What stands inside a schema, wherever it stands."""
    for part in value.values() if isinstance(value, dict) else ():
        if isinstance(part, dict):
            yield part
        elif isinstance(part, list):
            yield from (item for item in part if isinstance(item, dict))


def has_foreign_keywords(schema: dict[str, Any]) -> bool:
    """Whether there are keywords that xgrammar would not hold to, anywhere in the schema."""
    kinds = _kinds(schema)
    return (
        (not kinds.isdisjoint(("integer", "number")) and "multipleOf" in schema)
        or ("array" in kinds and _has_any(schema, "uniqueItems", "contains", "minContains", "maxContains"))
        or ("string" in kinds and (schema.get("format", "date") not in _FORMATS or _is_doubly_bounded(schema)))
        or ("object" in kinds and _has_foreign_names(schema))
        or (isinstance(schema.get("allOf"), list) and len(schema["allOf"]) > 1)
        or any(map(has_foreign_keywords, _inner(schema)))
    )


def _has_foreign_names(schema: dict[str, Any]) -> bool:
    names, patterns = schema.get("propertyNames"), schema.get("patternProperties")
    if "propertyNames" in schema and (
        (isinstance(names, dict) and _is_doubly_bounded(names))
        or _has_any(schema, "patternProperties", "properties")
        or schema.get("unevaluatedProperties", True) is not True
    ):
        return True
    return isinstance(patterns, dict) and ("properties" in schema or len(patterns) > 1)


def _is_doubly_bounded(schema: dict[str, Any]) -> bool:
    return _has_any(schema, "pattern", "format") and _has_any(schema, "minLength", "maxLength")


def _has_any(schema: dict[str, Any], *keywords: str) -> bool:
    return any(keyword in schema for keyword in keywords)


def _kinds(schema: dict[str, Any]) -> frozenset[str]:
    kinds = schema.get("type")
    if isinstance(kinds, str):
        return frozenset((kinds,))
    return frozenset(kind for kind in kinds if isinstance(kind, str)) if isinstance(kinds, list) else frozenset()


class _Faults:
    """Looks for faults where xgrammar looks: it reads no keyword that another one makes needless."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._seen: set[int] = set()

    def of(self, schema: Any) -> bool:
        """Whether a schema has a fault."""
        if isinstance(schema, bool):
            return False
        if not isinstance(schema, dict):
            return True
        if id(schema) in self._seen:
            return False
        self._seen.add(id(schema))
        if "$ref" in schema:
            return self._of_reference(schema["$ref"])
        if "const" in schema:
            return False
        if "enum" in schema:
            return not isinstance(schema["enum"], list) or not schema["enum"]
        for keyword in ("anyOf", "oneOf", "allOf"):
            if keyword in schema:
                return not isinstance(schema[keyword], list) or any(map(self.of, schema[keyword]))
        return self._of_type(schema)

    def _of_reference(self, reference: Any) -> bool:
        if not isinstance(reference, str):
            return True
        if not reference.startswith("#/"):
            return False
        found: Any = self._root
        for step in reference[2:].split("/"):
            step = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or step not in found:
                return True
            found = found[step]
        return self.of(found)

    def _of_type(self, schema: dict[str, Any]) -> bool:
        if "type" not in schema:
            inferred = [("object", _OBJECT_WORDS), ("array", _ARRAY_WORDS)]
            kinds = [kind for kind, keywords in inferred if _has_any(schema, *keywords)][:1]
        else:
            given = schema["type"]
            kinds = given if isinstance(given, list) else [given]
        if not all(isinstance(kind, str) and kind in _TYPES for kind in kinds):
            return True
        return any(self._of_kind(kind, schema) for kind in kinds)

    def _of_kind(self, kind: str, schema: dict[str, Any]) -> bool:
        if kind == "object":
            return self._of_object(schema) or _counts_are_wrong(schema, "Properties")
        if kind == "array":
            return self._of_array(schema) or _counts_are_wrong(schema, "Items")
        if kind == "string":
            pattern = schema.get("pattern", "")
            return not isinstance(pattern, str) or not is_regex(pattern) or _counts_are_wrong(schema, "Length")
        return kind in ("integer", "number") and _bounds_are_wrong(schema, whole=kind == "integer")

    def _of_object(self, schema: dict[str, Any]) -> bool:
        required = schema.get("required", [])
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            return True
        for keyword in ("properties", "patternProperties"):
            parts = schema.get(keyword, {})
            if not isinstance(parts, dict) or any(map(self.of, parts.values())):
                return True
        keywords = ("additionalProperties", "unevaluatedProperties", "propertyNames")
        return any(self.of(schema.get(keyword, True)) for keyword in keywords)

    def _of_array(self, schema: dict[str, Any]) -> bool:
        first = schema.get("prefixItems", [])
        items = schema.get("items", True)
        if not isinstance(first, list) or any(map(self.of, first)) or self.of(items):
            return True
        if self.of(schema.get("unevaluatedItems", True)):
            return True
        count = schema.get("minItems", 0)
        return items is False and isinstance(count, int) and count > len(first)


def _counts_are_wrong(schema: dict[str, Any], what: str) -> bool:
    low, high = schema.get(f"min{what}", 0), schema.get(f"max{what}")
    if not isinstance(low, int) or isinstance(low, bool):
        return True
    if high is None:
        return f"max{what}" in schema or low > 2**31
    return not isinstance(high, int) or isinstance(high, bool) or low > high


def _bounds_are_wrong(schema: dict[str, Any], whole: bool) -> bool:
    bounds = [schema[name] for name in _BOUNDS if name in schema]
    if not all(isinstance(bound, int | float) and not isinstance(bound, bool) for bound in bounds):
        return True
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None and low > high:
        return True
    if not whole:
        return False
    return any(abs(bound) >= 2**63 or bound != int(bound) for bound in bounds)
