"""JSON text that is valid against a schema, of about a wanted length."""

import json
import math
from collections.abc import Iterator

from vllm_mock.generation.draws import Draws

from . import words
from .expression import LONGEST_TEXT, Pen
from .facts import Facts, matches
from .formats import FORMATS, base64_text
from .numbers import integer_text, integers, number_text
from .regular import is_open, regular
from .schema import Node

# Keys of objects about which a schema says nothing.
_FREE_NAMES = ("name", "summary", "status", "count", "city", "note", "topic", "value", "label", "owner")
# The longest run of text that one string takes from what is left, in characters.
_STRING_ROOM = 160
_USUAL_ITEMS = 4
# What a property that is made up takes at least, in characters.
_NAME_LENGTH = 12
_TRIES = 30
# Before the values that are left are counted through.
_NEW_TRIES = 6
# Values nested deeper than the first are as short as can be, those beyond the second have no shortest form.
_USUAL_DEPTH = 16
_MAX_DEPTH = 130


class JsonWriter:
    """Writes values. `most` is always what a value may take, in characters; it is kept where that is possible.

    Beyond about `longest` characters what is written lacks what it should have.
    """

    def __init__(self, draws: Draws, compact: bool = False, longest: float = LONGEST_TEXT) -> None:
        self._draws = draws
        self._longest = longest
        item_separator, key_separator = (",", ":") if compact else (", ", ": ")
        self._item_separator = item_separator
        self._key_separator = key_separator
        self._depth = 0
        self._written = 0
        # In how many of 100 cases something is said rather than null, where both are possible.
        self.telling = 90

    def text(self, node: Node, most: float, name: str = "") -> str:
        """A value as JSON text; `name` is the property that it is for."""
        if self._depth > _MAX_DEPTH or self._written > self._longest:
            return "null"
        if self._depth > _USUAL_DEPTH:
            most = node.shortest
        self._depth += 1
        try:
            if node.options is not None:
                return self._of_union(node.options, most, name)
            text = "null" if node.facts is None else self._of_facts(node.facts, most, name)
            # What is inside was counted before.
            self._written += len(text) if text[0] not in "{[" else 2
            return text
        finally:
            self._depth -= 1

    def _of_union(self, options: list[Node], most: float, name: str) -> str:
        fitting = [option for option in options if option.shortest <= most]
        if not fitting:
            return self.text(min(options, key=lambda option: option.cost), most, name) if options else "null"
        telling = [option for option in fitting if not _is_null(option)]
        chosen = self._draws.pick(telling if telling and self._draws.chance(self.telling) else fitting)
        return self.text(chosen, most, name)

    def _of_facts(self, facts: Facts, most: float, name: str) -> str:
        if facts.values is not None:
            return self._one_of(facts.value_texts, most)
        kinds = [kind for kind in facts.types if facts.cost_of(kind)[0] <= most]
        if not kinds:
            kinds = sorted(facts.types, key=facts.cost_of)[:1]
        if not kinds:
            return "null"
        telling = [kind for kind in kinds if kind != "null"]
        kind = self._draws.pick(telling if telling and self._draws.chance(self.telling) else kinds)
        if facts.any_type and "string" in kinds and self._draws.chance(60):
            kind = "string"
        return self._of_kind(kind, facts, most, name)

    def _of_kind(self, kind: str, facts: Facts, most: float, name: str) -> str:
        if kind == "object":
            return self._object(facts, most)
        if kind == "array":
            return self._array(facts, most, name)
        if kind == "string":
            return self._string(facts, most, name)
        if kind == "boolean":
            return "true" if self._draws.chance(60) else "false"
        if kind == "null":
            return "null"
        shortest = most < facts.cost_of(kind)[0] + 8
        write = integer_text if kind == "integer" else number_text
        return write(facts, name, self._draws, shortest)

    def _one_of(self, texts: list[str], most: float) -> str:
        if not texts:
            return "null"
        fitting = [text for text in texts if len(text) <= most]
        return self._draws.pick(fitting) if fitting else min(texts, key=len)

    def _object(self, facts: Facts, most: float) -> str:
        extra = most - facts.cost_of("object")[0]
        names, extra = self._names(facts, extra)
        members: dict[str, str] = {}
        for index, name in enumerate(names):
            node = facts.properties[name] if name in facts.properties else self._extra_child(facts, name)
            share = self._share(node, extra, len(names) - index)
            text = self.text(node, node.shortest + share, name)
            extra = max(0, extra - max(0, len(text) - node.shortest))
            members[name] = text
        key = self._key_separator
        inside = self._item_separator.join(
            f"{json.dumps(name, ensure_ascii=False)}{key}{text}" for name, text in members.items()
        )
        return f"{{{inside}}}"

    def _names(self, facts: Facts, extra: float) -> tuple[list[str], float]:
        """The properties of an object in the schema's order, and how much room is left beside them."""
        chosen = dict.fromkeys(facts.required)
        limit = math.inf if facts.max_properties is None else facts.max_properties
        for name, node in facts.properties.items():
            if name in chosen or not (node.shortest <= extra and self._allowed_name(facts, name)):
                continue
            added = [n for n in facts.with_dependents([*chosen, name]) if n not in chosen]
            need = sum(facts.name_length(n) + facts.child(n).shortest for n in added)
            wanted = len(chosen) < facts.min_properties or (need <= extra / 2 and self._draws.chance(85))
            if wanted and len(chosen) + len(added) <= limit:
                chosen |= dict.fromkeys(added)
                extra -= need
        ordered = [name for name in facts.properties if name in chosen]
        ordered += [name for name in chosen if name not in facts.properties]
        for name in self._extra_names(facts, set(ordered), extra):
            extra -= facts.name_length(name) + self._extra_child(facts, name).shortest
            ordered.append(name)
        return ordered, max(0, extra)

    def _extra_names(self, facts: Facts, taken: set[str], extra: float) -> list[str]:
        """Names of properties that the schema does not list: as many as it asks for, some where it lists none."""
        missing = facts.min_properties - len(taken)
        free = not facts.lists_properties and facts.max_properties != 0
        if missing <= 0 and not (free and extra > 20):
            return []
        limit = max(missing, min(self._draws.between(1, 4), int(extra // 30)) if free else 0)
        if facts.max_properties is not None:
            limit = min(limit, facts.max_properties - len(taken))
        names: list[str] = []
        for _ in range(_TRIES * max(1, min(limit, _USUAL_ITEMS)) + limit):
            if len(names) >= min(limit, self._longest / _NAME_LENGTH):
                break
            name = self._fresh_name(facts, len(names) + len(taken))
            node = self._extra_child(facts, name)
            if name in taken or name in names or node.shortest == math.inf:
                continue
            if self._allowed_name(facts, name):
                names.append(name)
        return names

    def _fresh_name(self, facts: Facts, count: int) -> str:
        if facts.name_node is not None and facts.name_node.shortest != math.inf:
            return json.loads(self.text(facts.name_node, facts.name_node.shortest + 20))
        usable = [pattern for pattern, node in facts.pattern_nodes.items() if node.shortest != math.inf]
        if usable and (facts.extra_node.shortest == math.inf or self._draws.chance(50)):
            pattern = self._draws.pick(usable)
            name = _matching(pattern, 0, 12, self._draws)
            return name + words.word(self._draws) if is_open(pattern)[1] else name
        if count < len(_FREE_NAMES):
            return self._draws.pick(_FREE_NAMES)
        return f"{words.word(self._draws)}_{self._draws.below(1000)}"

    def _extra_child(self, facts: Facts, name: str) -> Node:
        for pattern, node in facts.pattern_nodes.items():
            if matches(pattern, name):
                return node
        return facts.extra_node

    def _allowed_name(self, facts: Facts, name: str) -> bool:
        node = facts.name_node
        inner = None if node is None else node.facts
        if inner is None:
            return True
        if inner.values is not None:
            return name in inner.values
        longest = math.inf if inner.max_length is None else inner.max_length
        return inner.min_length <= len(name) <= longest and all(matches(p, name) for p in inner.patterns)

    def _share(self, node: Node, extra: float, left: int) -> float:
        """How much of what is left a member may take beyond its shortest text, when `left` are to come."""
        if _is_container(node):
            return extra / min(left + 1, 3)
        return min(_STRING_ROOM, 3 * extra / (left + 2))

    def _array(self, facts: Facts, most: float, name: str) -> str:
        extra = most - facts.cost_of("array")[0]
        high = math.inf if facts.max_items is None else facts.max_items
        usual = min(high, max(facts.min_items, facts.prefix) + _USUAL_ITEMS)
        texts: list[str] = []
        taken: set[str] = set()
        while len(texts) < high and self._written <= self._longest:
            index = len(texts)
            node = self._element(facts, index)
            needed = index < facts.min_items
            cost = node.shortest + len(self._item_separator)
            if not needed and (index >= usual or cost > extra or not self._draws.chance(95 if index == 0 else 65)):
                break
            extra -= 0 if needed else cost
            share = max(0, extra / 3 if _is_container(node) else min(extra, _STRING_ROOM))
            text = self._new(node, node.shortest + share, _singular(name), taken)
            if text is None and not needed:
                break
            texts.append(text or "null")
            if facts.unique:
                taken.add(texts[-1])
            extra = max(0, extra - max(0, len(texts[-1]) - node.shortest))
        return f"[{self._item_separator.join(texts)}]"

    def _element(self, facts: Facts, index: int) -> Node:
        if facts.contained is not None and facts.prefix <= index < facts.prefix + facts.min_contains:
            return facts.contained
        return facts.item(index)

    def _new(self, node: Node, most: float, name: str, taken: set[str]) -> str | None:
        for attempt in range(_NEW_TRIES):
            text = self.text(node, most + attempt, name)
            if text not in taken:
                return text
        return next((text for text in _all_texts(node) if text not in taken), None)

    def _string(self, facts: Facts, most: float, name: str) -> str:
        room = max(most - 2, facts.string_length())
        for _ in range(_TRIES):
            text = self._string_value(facts, room, name)
            if _fits(facts, text) or len(text) >= self._longest:
                break
        return json.dumps(text, ensure_ascii=False)

    def _string_value(self, facts: Facts, room: float, name: str) -> str:
        longest = room if facts.max_length is None else min(room, facts.max_length)
        if facts.patterns:
            pattern = max(facts.patterns, key=len)
            return _matching(pattern, facts.min_length, longest, self._draws, self._longest)
        known = FORMATS.get(facts.formats[0]) if facts.formats else None
        if known is not None:
            text = known.make(self._draws)
            return text if len(text) <= longest else known.shortest
        text = base64_text(self._draws) if facts.encoded else words.for_name(name, self._draws)
        if len(text) > longest:
            text = _cut(text, int(longest))
        while len(text) < min(facts.min_length, self._longest):
            text = f"{text} {words.sentences(self._draws)}"[: int(max(longest, facts.min_length))].ljust(len(text) + 1)
        return text


def _all_texts(node: Node) -> Iterator[str]:
    """The values of a node where they can be counted."""
    for option in node.options or ():
        yield from _all_texts(option)
    facts = node.facts
    if facts is None:
        return
    if facts.values is not None:
        yield from facts.value_texts
    elif "boolean" in facts.types:
        yield from ("true", "false")
    elif facts.types == ["integer"]:
        yield from map(str, integers(facts))


def _matching(pattern: str, least: float, most: float, draws: Draws, longest: float = LONGEST_TEXT) -> str:
    try:
        expression = regular(pattern)
    except ValueError:
        return words.word(draws)
    pen = Pen(draws, longest)
    expression.write(pen, least, max(least, most))
    text = pen.text
    before, after = is_open(pattern)
    while len(text) < min(least, longest) and (before or after):
        filling = words.word(draws)[: int(least) - len(text)]
        text = text + filling if after else filling + text
    return text


def _fits(facts: Facts, text: str) -> bool:
    longest = math.inf if facts.max_length is None else facts.max_length
    return facts.min_length <= len(text) <= longest and all(matches(pattern, text) for pattern in facts.patterns)


def _cut(text: str, length: int) -> str:
    """The beginning of a text in whole words, or another word that is short enough."""
    whole = text[: length + 1].rpartition(" ")[0].rstrip(",")
    return whole or next((word for word in words.WORDS if len(word) <= length), text[:length])


def _singular(name: str) -> str:
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name


def _is_null(node: Node) -> bool:
    return node.facts is not None and (node.facts.types == ["null"] or node.facts.values == [None])


def _is_container(node: Node) -> bool:
    if node.options is not None:
        return any(_is_container(option) for option in node.options if option.options is None)
    return node.facts is not None and not {"object", "array"}.isdisjoint(node.facts.types)
