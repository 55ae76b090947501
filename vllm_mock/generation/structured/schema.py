"""JSON schemas as a graph: what may be chosen, what must hold together, how short the shortest value is."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote

from .facts import Facts

Schema = dict[str, Any] | bool

# Beyond so many branches only the first one of each further union is looked at.
_MAX_BRANCHES = 1000
_UNIONS = ("anyOf", "oneOf")
_COMPOUND = ("$ref", "$dynamicRef", "$recursiveRef", "allOf", *_UNIONS, "if")
# Keywords that the graph only roughly follows: a value must be checked against the schema.
_ROUGH = frozenset(
    (
        *("oneOf", "not", "if", "contains", "dependentSchemas", "dependencies", "unevaluatedProperties"),
        *("unevaluatedItems", "propertyNames", "patternProperties", "minProperties", "maxProperties", "uniqueItems"),
        *("$dynamicRef", "$recursiveRef"),
    )
)


class Node:
    """Schemas that hold together: a union of `options`, or `facts` that leave nothing to choose but a type.

    `shortest` is the length of the shortest value as JSON text, in characters, infinite where there is none;
    `height` the depth of its derivation.
    """

    __slots__ = ("facts", "height", "options", "parts", "shortest")

    def __init__(self, parts: tuple[dict[str, Any], ...]) -> None:
        self.parts = parts
        self.options: list[Node] | None = None
        self.facts: Facts | None = None
        self.shortest = math.inf
        self.height = math.inf

    @property
    def cost(self) -> tuple[float, float]:
        """What makes one node cheaper than another."""
        return self.shortest, self.height

    def measure(self) -> None:
        """Compute the length of the shortest value from those of the parts."""
        if self.options is not None:
            best = min(self.options, key=lambda option: option.cost, default=None)
            if best is not None:
                self.shortest, self.height = best.shortest, best.height + 1
        elif self.facts is not None:
            self.shortest, self.height = self.facts.cost()


class SchemaGraph:
    """The nodes of one schema; `root` is the schema itself.

    `rough` says that a value may fail the schema and must be checked.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._nodes: dict[tuple[int, ...], Node] = {}
        self._pending: list[Node] = []
        # Schemas made on the way: kept, since nodes are known by the identity of their schemas.
        self._made: dict[tuple[int, str], Any] = {}
        self._anchors: dict[str, Any] | None = None
        self._branches = 0
        self.rough = False
        self.root = self.node([schema])
        self._complete()

    def node(self, schemas: Sequence[Schema]) -> Node:
        """The node of these schemas together."""
        parts = tuple(
            part if isinstance(part, dict) else self._nothing() for part in schemas if part is not True and part != {}
        )
        key = tuple(dict.fromkeys(map(id, parts)))
        node = self._nodes.get(key)
        if node is None:
            node = self._nodes[key] = Node(parts)
            self._pending.append(node)
        return node

    def _complete(self) -> None:
        found: list[Node] = []
        while self._pending:
            node = self._pending.pop()
            found.append(node)
            self._expand(node)
        found.reverse()
        before: list[tuple[float, float]] = []
        while True:
            for node in found:
                node.measure()
            now = [node.cost for node in found]
            if now == before:
                return
            before = now

    def _expand(self, node: Node) -> None:
        flat: list[dict[str, Any]] = []
        unions: list[list[Schema]] = []
        queue: list[Schema] = list(node.parts)
        seen: set[int] = set()
        for schema in queue:
            if schema is False:
                return
            if not isinstance(schema, dict) or id(schema) in seen:
                continue
            seen.add(id(schema))
            keyword = next((name for name in _COMPOUND if name in schema), None)
            if not self.rough and not _ROUGH.isdisjoint(schema):
                self.rough = True
            if keyword is None:
                flat.append(schema)
                continue
            queue.append(self._without(schema, keyword))
            self._take(schema, keyword, queue, unions)
        if unions:
            rest = [*flat, *(self._union(union) for union in unions[1:])]
            branches = unions[0] if self._branches < _MAX_BRANCHES else unions[0][:1]
            self._branches += len(branches)
            node.options = [self.node([*rest, branch]) for branch in branches]
        else:
            node.facts = Facts(flat, self)

    def _take(self, schema: dict[str, Any], keyword: str, queue: list[Schema], unions: list[list[Schema]]) -> None:
        value = schema[keyword]
        if keyword == "if":
            unions.append(self._conditional(schema))
        elif keyword.startswith("$"):
            queue.append(self._target(value))
        elif isinstance(value, list):
            if keyword == "allOf":
                queue.extend(value)
            else:
                unions.append(value)

    def _nothing(self) -> dict[str, Any]:
        return self._made.setdefault((0, "nothing"), {"enum": []})

    def _without(self, schema: dict[str, Any], keyword: str) -> dict[str, Any]:
        key = (id(schema), keyword)
        if key not in self._made:
            self._made[key] = {name: value for name, value in schema.items() if name != keyword}
        return self._made[key]

    def _union(self, branches: list[Schema]) -> dict[str, Any]:
        return self._made.setdefault((id(branches), "union"), {"anyOf": branches})

    def _conditional(self, schema: dict[str, Any]) -> list[Schema]:
        key = (id(schema["if"]), "conditional")
        if key not in self._made:
            both = {"allOf": [schema["if"], schema.get("then", True)]}
            self._made[key] = [both, schema.get("else", True)]
        return self._made[key]

    def _target(self, reference: Any) -> Schema:
        """The schema that a reference points to; any value if there is none."""
        if not isinstance(reference, str):
            return True
        pointer = unquote(reference)
        if pointer == "#":
            return self._schema
        if pointer.startswith("#/"):
            return _at(self._schema, pointer[2:])
        if self._anchors is None:
            self._anchors = dict(_anchors(self._schema))
        return self._anchors.get(pointer.removeprefix("#"), True)


def _at(schema: Any, pointer: str) -> Schema:
    for step in pointer.split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(schema, dict) and name in schema:
            schema = schema[name]
        elif isinstance(schema, list) and re.fullmatch(r"\d{1,9}", name) and int(name) < len(schema):
            schema = schema[int(name)]
        else:
            return True
    return schema


def _anchors(schema: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(schema, dict):
        for keyword in ("$id", "id", "$anchor", "$dynamicAnchor"):
            if isinstance(schema.get(keyword), str):
                yield schema[keyword], schema
    parts = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    for part in parts:
        yield from _anchors(part)
