"""Structural tags as expressions that texts are written from: prose with parts that must follow a format."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from vllm_mock.generation.draws import Draws

from . import words
from .expression import INFINITE, Chain, Choice, Expression, Literal, Pen, Repeat, Written
from .grammar import grammar
from .regular import regular

Json = Callable[[Any], Expression]

_SENTENCES = 3
# How a value of a property is written outside JSON: before and after it.
_XML = {
    "qwen_xml": ("<parameter={}>", "</parameter>"),
    "minimax_xml": ('<parameter name="{}">', "</parameter>"),
    "glm_xml": ("<arg_key>{}</arg_key><arg_value>", "</arg_value>"),
}


def structural_tag(tag: dict[str, Any], json_expression: Json) -> Expression:
    """What a structural tag stands for, in the older notation (`structures`) or the newer one (`format`).

    `json_expression` makes the expression of a JSON schema. Raises ValueError for what is not known.
    """
    if "structures" in tag:
        tags = [
            Chain([Literal(each["begin"]), json_expression(_schema(each["schema"])), Literal(each["end"])])
            for each in tag["structures"]
        ]
        return _in_prose(tags, tag["triggers"], at_least_one=False, once=False)
    return _Formats(json_expression).of(tag["format"], ())


def _schema(schema: Any) -> Any:
    """A schema of the older notation; it may be JSON itself."""
    return json.loads(schema) if isinstance(schema, str) else schema


class _Formats:
    def __init__(self, json_expression: Json) -> None:
        self._json = json_expression

    def of(self, form: dict[str, Any], ends: Sequence[str]) -> Expression:
        """The expression of one format; `ends` must not appear in prose."""
        kind = form["type"]
        make = getattr(self, f"_{kind}", None)
        if make is None:
            raise ValueError(f"unknown format: {kind}")
        return make(form, ends)

    def _const_string(self, form: dict[str, Any], ends: Sequence[str]) -> Expression:
        return Literal(form["value"])

    def _any_text(self, form: dict[str, Any], ends: Sequence[str]) -> Expression:
        return _prose([*ends, *form.get("excludes", ())], form.get("max_chars"))

    def _any_tokens(self, form: dict[str, Any], ends: Sequence[str]) -> Expression:
        return _prose([*ends, *_texts(form.get("exclude_tokens", ()))], None)

    def _exclude_token(self, form: dict[str, Any], ends: Sequence[str]) -> Expression:
        return regular("[a-z]")

    def _token(self, form: dict[str, Any], ends: Sequence[str]) -> Expression:
        return Literal("".join(_texts([form["token"]])))

    def _json_schema(self, form: dict[str, Any], ends: Sequence[str]) -> Expression:
        inner = self._json(form["json_schema"])
        return inner if form.get("style", "json") not in _XML else _xml(inner, form["style"])

    def _qwen_xml_parameter(self, form: dict[str, Any], ends: Sequence[str]) -> Expression:
        return _xml(self._json(form["json_schema"]), "qwen_xml")

    def _regex(self, form: dict[str, Any], ends: Sequence[str]) -> Expression:
        return regular(form["pattern"])

    def _grammar(self, form: dict[str, Any], ends: Sequence[str]) -> Expression:
        return grammar(form["grammar"], self._json)

    def _sequence(self, form: dict[str, Any], ends: Sequence[str]) -> Expression:
        elements = form["elements"]
        parts = []
        for element, later in zip(elements, [*elements[1:], None], strict=True):
            following = later["value"] if later is not None and later["type"] == "const_string" else None
            parts.append(self.of(element, ends if following is None else [*ends, following]))
        return Chain(parts)

    def _or(self, form: dict[str, Any], ends: Sequence[str]) -> Expression:
        return Choice([self.of(element, ends) for element in form["elements"]])

    def _tag(self, form: dict[str, Any], ends: Sequence[str]) -> Expression:
        own_ends = _texts(form["end"] if isinstance(form["end"], list) else [form["end"]])
        content = self.of(form["content"], [*ends, *own_ends])
        closing = Choice([Literal(end) for end in own_ends])
        return Chain([Literal("".join(_texts([form["begin"]]))), content, closing])

    def _triggered_tags(self, form: dict[str, Any], ends: Sequence[str]) -> Expression:
        tags = [self._tag(tag, ends) for tag in form["tags"]]
        excluded = [*ends, *form["triggers"], *form.get("excludes", ())]
        return _in_prose(tags, excluded, form.get("at_least_one", False), form.get("stop_after_first", False))

    def _token_triggered_tags(self, form: dict[str, Any], ends: Sequence[str]) -> Expression:
        tags = [self._tag(tag, ends) for tag in form["tags"]]
        excluded = [*ends, *_texts(form["trigger_tokens"])]
        return _in_prose(tags, excluded, form.get("at_least_one", False), form.get("stop_after_first", False))

    def _dispatch(self, form: dict[str, Any], ends: Sequence[str]) -> Expression:
        tags = [Chain([*map(Literal, _texts([trigger])), self.of(inner, ends)]) for trigger, inner in form["rules"]]
        excluded = [*ends, *form.get("excludes", ()), *_texts([trigger for trigger, _ in form["rules"]])]
        return _in_prose(tags, excluded, at_least_one=False, once=not form.get("loop", True))

    _token_dispatch = _dispatch

    def _tags_with_separator(self, form: dict[str, Any], ends: Sequence[str]) -> Expression:
        one = Choice([self._tag(tag, ends) for tag in form["tags"]])
        more = Chain([one, Repeat(Chain([Literal(form["separator"]), one]), 0, 1)])
        several = one if form.get("stop_after_first") else more
        return several if form.get("at_least_one") else _mostly(several)

    def _optional(self, form: dict[str, Any], ends: Sequence[str]) -> Expression:
        return _mostly(self.of(form["content"], ends))

    def _star(self, form: dict[str, Any], ends: Sequence[str]) -> Expression:
        return Repeat(self.of(form["content"], ends), 0, None)

    def _plus(self, form: dict[str, Any], ends: Sequence[str]) -> Expression:
        return Repeat(self.of(form["content"], ends), 1, None)

    def _repeat(self, form: dict[str, Any], ends: Sequence[str]) -> Expression:
        high = form["max"]
        return Repeat(self.of(form["content"], ends), form["min"], None if high < 0 else high)


def _in_prose(tags: Sequence[Expression], excluded: Sequence[str], at_least_one: bool, once: bool) -> Expression:
    """Prose and then tags, now and then none where that is allowed."""
    one = Choice(tags)
    prose = Literal("") if at_least_one else _prose(excluded, None)
    with_tags = Chain([prose, one] if once else [prose, one, Repeat(one, 0, 1)])
    return with_tags if at_least_one else Choice([with_tags, with_tags, with_tags, prose])


def _mostly(inner: Expression) -> Expression:
    return Choice([inner, inner, inner, Literal("")])


def _prose(excluded: Sequence[str], max_chars: int | None) -> Expression:
    """Some sentences without the excluded strings."""
    usable = [sentence for sentence in words.SENTENCES if not any(text and text in sentence for text in excluded)]

    def write(draws: Draws, least: float, most: float) -> str:
        limit = most if max_chars is None else min(most, max_chars)
        text = ""
        for _ in range(draws.between(1, _SENTENCES)):
            added = f"{text} {draws.pick(usable)}".strip() if usable else text
            text = added if len(added) <= limit and not any(e and e in added for e in excluded) else text
        return text

    return Written(0, INFINITE, write)


def _xml(inner: Expression, style: str) -> Expression:
    """An object as one element per property, strings without quotes."""
    before, after = _XML[style]

    def write(draws: Draws, least: float, most: float) -> str:
        pen = Pen(draws)
        inner.write(pen, 0, most)
        value = json.loads(pen.text)
        if not isinstance(value, dict):
            return pen.text
        shown = [
            (key, each if isinstance(each, str) else json.dumps(each, ensure_ascii=False))
            for key, each in value.items()
        ]
        return "".join(f"{before.format(key)}{each}{after}" for key, each in shown)

    return Written(inner.shortest, INFINITE, write)


def _texts(tokens: Sequence[Any]) -> list[str]:
    """The texts of tokens; what is given as a number has none that matters here."""
    return [token for token in map(_token_text, tokens) if token is not None]


def _token_text(token: Any) -> str | None:
    value = token["token"] if isinstance(token, dict) else token
    return value if isinstance(value, str) else None
