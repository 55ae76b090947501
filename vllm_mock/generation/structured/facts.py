"""What several schemas say together about one value, once references and unions are resolved."""

import json
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from .formats import FORMATS
from .regular import compiled, regular

if TYPE_CHECKING:
    from .schema import Node, Schema, SchemaGraph

TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")
# A schema without a type whose keywords speak of one is taken to mean it.
_SPEAKS_OF = {
    "object": ("properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties"),
    "array": ("items", "prefixItems", "contains", "minItems", "maxItems", "uniqueItems"),
    "string": ("pattern", "minLength", "maxLength", "format", "contentEncoding", "contentMediaType"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
_SEPARATOR = len(", ")
# Bounds beyond this do not bind: no floating-point number, which most checkers use, is as large.
_HUGE = 10**300


class Facts:
    """The keywords of several schemas, merged. Children are nodes of the same graph."""

    def __init__(self, parts: Sequence[dict[str, Any]], graph: "SchemaGraph") -> None:
        self._parts = parts
        self._graph = graph
        self.types = self._types()
        self.values = self._values()
        self.value_texts = [json.dumps(value, ensure_ascii=False) for value in self.values or ()]
        self._read_numbers()
        self._read_strings()
        self._read_objects()
        self._read_arrays()

    def cost(self) -> tuple[float, float]:
        """The length of the shortest value in characters, and the depth of its derivation."""
        if self.values is not None:
            return min(map(len, self.value_texts), default=math.inf), 1
        return min((self.cost_of(kind) for kind in self.types), default=(math.inf, math.inf))

    def cost_of(self, kind: str) -> tuple[float, float]:
        """The same for values of one type."""
        if kind == "object":
            return self._object_cost()
        if kind == "array":
            return self._array_cost()
        if kind == "string":
            return 2 + self.string_length(), 1
        return {"null": 4, "boolean": 4}.get(kind, self._number_length()), 1

    def child(self, name: str) -> "Node":
        """The node of the property `name`."""
        node = self._children.get(name)
        if node is None:
            node = self._children[name] = self._graph.node(self._property_schemas(name))
        return node

    def string_length(self) -> float:
        """The shortest string, in characters without quotes."""
        if self.patterns:
            return max(_shortest_match(pattern) for pattern in self.patterns)
        if self.formats and self.formats[0] in FORMATS:
            return max(self.min_length, len(FORMATS[self.formats[0]].shortest))
        return self.min_length

    def _all(self, keyword: str) -> list[Any]:
        return [part[keyword] for part in self._parts if keyword in part]

    def _any_true(self, keyword: str) -> bool:
        return any(value is True for value in self._all(keyword))

    def _largest(self, keyword: str, default: int) -> int:
        return max([int(v) for v in self._all(keyword) if _is_number(v)], default=default)

    def _smallest(self, keyword: str) -> int | None:
        return min([int(v) for v in self._all(keyword) if _is_number(v)], default=None)

    def _types(self) -> list[str]:
        types = list(TYPES)
        told = False
        for given in self._all("type"):
            kinds = [given] if isinstance(given, str) else given
            if isinstance(kinds, list) and kinds:
                told = True
                kinds = [*kinds, "integer"] if "number" in kinds else kinds
                types = [kind for kind in types if kind in kinds]
        self.any_type = not told
        if told:
            return [kind for kind in types if kind != "integer"] if "number" in types else types
        spoken = [kind for kind, words in _SPEAKS_OF.items() if any(w in part for w in words for part in self._parts)]
        if spoken:
            self.any_type = False
        return spoken or ["string", "object", "array", "number", "boolean", "null"]

    def _values(self) -> list[Any] | None:
        lists = [value for value in self._all("enum") if isinstance(value, list)]
        lists += [[value] for value in self._all("const")]
        if not lists:
            return None
        others = [{json.dumps(value, sort_keys=True) for value in values} for values in lists[1:]]
        told = bool(self._all("type"))
        return [
            value
            for value in lists[0]
            if all(json.dumps(value, sort_keys=True) in other for other in others)
            and (not told or any(is_of_type(value, kind) for kind in self.types))
        ]

    def _read_numbers(self) -> None:
        self.minimum = max(filter(_is_number, self._all("minimum")), default=None)
        self.maximum = min(filter(_is_number, self._all("maximum")), default=None)
        self.above = max(filter(_is_number, self._all("exclusiveMinimum")), default=None)
        self.below = min(filter(_is_number, self._all("exclusiveMaximum")), default=None)
        # The oldest draft: a flag beside the bound.
        if self._any_true("exclusiveMinimum"):
            self.minimum, self.above = None, self.minimum
        if self._any_true("exclusiveMaximum"):
            self.maximum, self.below = None, self.maximum
        self.steps = [value for value in self._all("multipleOf") if _is_number(value) and value > 0]

    def _number_length(self) -> int:
        bound = self.minimum if self.minimum is not None else self.above
        low = 0 if bound is None else bound
        high = self.maximum if self.maximum is not None else self.below
        if high is not None and high < low:
            low = high
        return len(str(int(Fraction(low)))) if math.isfinite(low) else 1

    def _read_strings(self) -> None:
        self.patterns = [value for value in self._all("pattern") if isinstance(value, str)]
        self.formats = [value for value in self._all("format") if isinstance(value, str)]
        self.min_length = max(0, self._largest("minLength", 0))
        self.max_length = self._smallest("maxLength")
        self.encoded = "base64" in self._all("contentEncoding")

    def _read_objects(self) -> None:
        self.min_properties = self._largest("minProperties", 0)
        self.max_properties = self._smallest("maxProperties")
        self.names = [p for p in self._all("propertyNames") if isinstance(p, dict | bool)]
        self.patterned: dict[str, list[Schema]] = {}
        declared: dict[str, None] = {}
        for properties in self._all("properties"):
            declared |= dict.fromkeys(properties if isinstance(properties, dict) else ())
        for dependents in self._all("dependentRequired"):
            for names in dependents.values() if isinstance(dependents, dict) else ():
                declared |= dict.fromkeys(filter(_is_str, names) if isinstance(names, list) else ())
        for patterns in self._all("patternProperties"):
            for pattern, schema in patterns.items() if isinstance(patterns, dict) else ():
                self.patterned.setdefault(pattern, []).append(schema)
        self.lists_properties = bool(self._all("properties"))
        self.required = self._required()
        self._children: dict[str, Node] = {}
        if "object" in self.types:
            self.properties = {name: self.child(name) for name in (declared | dict.fromkeys(self.required))}
            self.extra_node = self._graph.node(self._property_schemas(None))
            self.pattern_nodes = {p: self._graph.node(self._pattern_schemas(p)) for p in self.patterned}
            self.name_node = self._graph.node([*self.names, {"type": "string"}]) if self.names else None

    def _required(self) -> list[str]:
        names: dict[str, None] = {}
        for required in self._all("required"):
            names |= dict.fromkeys(name for name in (required if isinstance(required, list) else ()) if _is_str(name))
        return self.with_dependents(list(names))

    def with_dependents(self, names: list[str]) -> list[str]:
        """The names and those that must come with them."""
        found = dict.fromkeys(names)
        for dependents in (*self._all("dependentRequired"), *self._all("dependencies")):
            if isinstance(dependents, dict):
                for _ in dependents:
                    for name, others in dependents.items():
                        if name in found and isinstance(others, list):
                            found |= dict.fromkeys(filter(_is_str, others))
        return list(found)

    def _property_schemas(self, name: str | None) -> list["Schema"]:
        """The schemas of a property; `name` None: of one that is neither declared nor patterned."""
        schemas: list[Schema] = []
        evaluated = False
        for part in self._parts:
            own = self._own_schemas(part, name)
            schemas += own
            evaluated = evaluated or bool(own)
            if not own and "additionalProperties" in part:
                schemas.append(part["additionalProperties"])
                evaluated = True
        return schemas if evaluated else self._all("unevaluatedProperties")

    def _own_schemas(self, part: dict[str, Any], name: str | None) -> list["Schema"]:
        if name is None:
            return []
        properties, patterns = part.get("properties"), part.get("patternProperties")
        own = [properties[name]] if isinstance(properties, dict) and name in properties else []
        for pattern, schema in patterns.items() if isinstance(patterns, dict) else ():
            if matches(pattern, name):
                own.append(schema)
        return own

    def _pattern_schemas(self, pattern: str) -> list["Schema"]:
        schemas = list(self.patterned[pattern])
        for part in self._parts:
            patterns = part.get("patternProperties")
            if "additionalProperties" in part and not (isinstance(patterns, dict) and pattern in patterns):
                schemas.append(part["additionalProperties"])
        return schemas

    def _object_cost(self) -> tuple[float, float]:
        length: float = 2
        height: float = 0
        for name in self.required:
            node = self.properties[name]
            length += self.name_length(name) + node.shortest
            height = max(height, node.height)
        missing = self.min_properties - len(self.required)
        if missing > 0:
            optional = sorted(
                self.name_length(name) + node.shortest
                for name, node in self.properties.items()
                if name not in self.required and node.shortest != math.inf
            )
            length += sum(optional[:missing])
            if missing > len(optional):
                others = [self.extra_node, *self.pattern_nodes.values()]
                cheapest = min(others, key=lambda node: node.cost)
                length += (missing - len(optional)) * (12 + cheapest.shortest)
                height = max(height, cheapest.height)
        return length, height + 1

    def name_length(self, name: str) -> int:
        """What a property adds to an object beside its value, in characters."""
        return len(json.dumps(name, ensure_ascii=False)) + 2 + _SEPARATOR

    def _read_arrays(self) -> None:
        self.min_items = max(0, self._largest("minItems", 0))
        self.max_items = self._smallest("maxItems")
        self.unique = self._any_true("uniqueItems")
        self.contains = [schema for schema in self._all("contains") if isinstance(schema, dict | bool)]
        self.min_contains = self._largest("minContains", 1) if self.contains else 0
        self.min_items = max(self.min_items, self.min_contains)
        if "array" in self.types:
            lists = [*self._all("prefixItems"), *(v for v in self._all("items") if isinstance(v, list))]
            self.prefix = max((len(items) for items in lists if isinstance(items, list)), default=0)
            self.items = [self._graph.node(self._item_schemas(index)) for index in range(self.prefix + 1)]
            rest = self._item_schemas(self.prefix)
            self.contained = self._graph.node([*rest, *self.contains]) if self.contains else None

    def item(self, index: int) -> "Node":
        """The node of an element."""
        return self.items[min(index, self.prefix)]

    def _item_schemas(self, index: int) -> list["Schema"]:
        schemas: list[Schema] = []
        evaluated = False
        for part in self._parts:
            items = part.get("items")
            first = part.get("prefixItems", items if isinstance(items, list) else [])
            own = first[index] if isinstance(first, list) and index < len(first) else None
            if own is None:
                own = part.get("additionalItems") if isinstance(items, list) else items
            if isinstance(own, dict | bool):
                schemas.append(own)
                evaluated = True
        return schemas if evaluated else self._all("unevaluatedItems")

    def _array_cost(self) -> tuple[float, float]:
        length: float = 2
        height: float = 0
        for index in range(min(self.min_items, self.prefix)):
            length += self.items[index].shortest + _SEPARATOR
            height = max(height, self.items[index].height)
        more = self.min_items - self.prefix
        if more > 0:
            node = self.contained or self.items[-1]
            length += more * (node.shortest + _SEPARATOR)
            height = max(height, node.height)
        return length, height + 1


def is_of_type(value: Any, kind: str) -> bool:
    """Whether a JSON value is of a type."""
    if kind in ("integer", "number"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return kind == "number" or isinstance(value, int) or value.is_integer()
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    return isinstance(value, kinds[kind])


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern matches somewhere in a text; True if nobody can tell."""
    expression = compiled(pattern)
    return expression is None or expression.search(text) is not None


def _shortest_match(pattern: str) -> float:
    """The length of the shortest text that matches; 0 if nobody can tell."""
    try:
        return regular(pattern).shortest
    except ValueError:
        return 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -_HUGE < value < _HUGE


def _is_str(value: Any) -> bool:
    return isinstance(value, str)
