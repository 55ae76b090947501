"""Grammars as expressions that texts are written from: the EBNF of GBNF (`root ::= …`) and that of Lark (`start: …`).

One reader for both, since their rules differ in little more than how a rule begins. What it does not know raises
ValueError.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from .expression import INFINITE, Chain, Choice, Expression, Lexeme, Literal, Repeat, Rule, settle
from .regular import regular

_TOKENS = re.compile(
    r"""
    (?P<blank>\s+|\#[^\n]*|//[^\n]*)
    |(?P<head>(?m:^[ \t]*)[?!]*(?P<name>[A-Za-z_][\w-]*)(?:\.-?\d+)?(?:\[[^\]\n]*\])?\s*(?:::=|:))
    |(?P<directive>%(?:ignore|import|declare|override|extend)\b[^\n]*|%llguidance\s*\{[^\n]*)
    |(?P<json>%json\s*)
    |(?P<string>"(?:[^"\\]|\\.)*"i?|'(?:[^'\\]|\\.)*'i?)
    |(?P<regex>/(?:[^/\\\n]|\\.)+/[a-z]*)
    |(?P<class>\[(?:[^\]\\]|\\.)*\])
    |(?P<counts>\{\s*\d+\s*(?:,\s*\d*\s*)?\}|~\s*\d+(?:\s*\.\.\s*\d+)?)
    |(?P<alias>->\s*\w+)
    |(?P<special><[^<>\s]+>)
    |(?P<word>[A-Za-z_][\w-]*)
    |(?P<range>\.\.)
    |(?P<mark>[|()\[\]?*+.])
    """,
    re.VERBOSE,
)
_ESCAPES = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
_NAMED_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0"}
_COUNTS = {"?": (0, 1), "*": (0, None), "+": (1, None)}
# The terminals that Lark's library offers to `%import common.NAME`.
_COMMON = {
    "DIGIT": "[0-9]",
    "HEXDIGIT": "[0-9a-fA-F]",
    "INT": "[0-9]+",
    "SIGNED_INT": "[+-]?[0-9]+",
    "DECIMAL": r"[0-9]+\.[0-9]{1,3}",
    "FLOAT": r"[0-9]+\.[0-9]{1,3}",
    "SIGNED_FLOAT": r"[+-]?[0-9]+\.[0-9]{1,3}",
    "NUMBER": r"[0-9]+(\.[0-9]{1,3})?",
    "SIGNED_NUMBER": r"[+-]?[0-9]+(\.[0-9]{1,3})?",
    "ESCAPED_STRING": '"[^"\\\\\\n]*"',
    "LCASE_LETTER": "[a-z]",
    "UCASE_LETTER": "[A-Z]",
    "LETTER": "[a-zA-Z]",
    "WORD": "[a-zA-Z]+",
    "CNAME": "[a-z_][a-z0-9_]*",
    "WS_INLINE": "[ \\t]+",
    "WS": "[ \\t\\f\\r\\n]+",
    "CR": "\\r",
    "LF": "\\n",
    "NEWLINE": "(\\r?\\n)+",
}


class _Token(NamedTuple):
    kind: str
    text: str
    value: Any = None


def grammar(text: str, json_expression: Callable[[Any], Expression]) -> Expression:
    """The start rule of a grammar. `json_expression` makes the expression of a JSON schema inside a grammar."""
    reader = _Reader(text, json_expression)
    root = reader.read()
    if root.shortest == INFINITE:
        raise ValueError("the grammar has no text, or a rule is missing")
    return root


class _Reader:
    def __init__(self, text: str, json_expression: Callable[[Any], Expression]) -> None:
        self._lark = "::=" not in text
        self._json_expression = json_expression
        self._tokens = list(self._scan(text))
        self._position = 0
        self._rules: dict[str, Rule] = {}
        # Every expression, parts before wholes.
        self._made: list[Expression] = []
        self._space = ""
        self._in_terminal = False

    def read(self) -> Rule:
        for token in self._tokens:
            if token.kind == "directive":
                self._direct(token.text)
        self._tokens = [token for token in self._tokens if token.kind != "directive"]
        while self._peek().kind == "head":
            name = self._next().value
            self._in_terminal = not self._lark or name.lstrip("_").isupper()
            self._rule(name).inner = self._alternatives()
        if self._peek().kind != "end":
            raise ValueError(f"unexpected: {self._peek().text}")
        settle([*self._made, *self._rules.values()])
        return self._rule("start" if self._lark else "root")

    def _scan(self, text: str) -> Iterator[_Token]:
        position = 0
        while position < len(text):
            found = _TOKENS.match(text, position)
            if found is None or (found.lastgroup == "class" and self._lark):
                yield _Token("mark", text[position])
                position += 1
                continue
            position = found.end()
            kind = found.lastgroup or "blank"
            if kind == "json":
                value, position = json.JSONDecoder().raw_decode(text, position)
                yield _Token("json", "", value)
            elif kind == "name" or found["head"]:
                yield _Token("head", found[0], found["name"])
            elif kind != "blank":
                yield _Token(kind, found[0])
        yield _Token("end", "")

    def _peek(self) -> _Token:
        return self._tokens[self._position]

    def _next(self) -> _Token:
        self._position += 1
        return self._tokens[self._position - 1]

    def _rule(self, name: str) -> Rule:
        if name not in self._rules:
            self._rules[name] = Rule()
        return self._rules[name]

    def _keep(self, made: Expression) -> Expression:
        self._made.append(made)
        return made

    def _direct(self, line: str) -> None:
        """`%ignore` says whether white space may stand between words, `%import` names common terminals."""
        word, _, rest = line.partition(" ")
        if word == "%ignore" and re.search(r"WS| |\\s|\\t", rest):
            self._space = " "
        if word == "%import":
            imported = re.match(r"\s*(?:\.?\w+\.)?(\w+)?\s*(?:->\s*(\w+)|\(([^)]*)\))?", rest)
            if imported is None:
                raise ValueError(f"unknown import: {line}")
            name, alias, several = imported.groups()
            for each in (several or name or "").split(","):
                pattern = _COMMON.get(each.strip())
                if pattern is None:
                    raise ValueError(f"unknown import: {line}")
                self._rule(alias or each.strip()).inner = self._keep(regular(pattern))

    def _alternatives(self) -> Expression:
        options = [self._sequence()]
        while self._peek().text == "|":
            self._next()
            options.append(self._sequence())
        return options[0] if len(options) == 1 else self._keep(Choice(options))

    def _sequence(self) -> Expression:
        parts = []
        while self._peek().kind not in ("head", "end") and self._peek().text not in ("|", ")", "]"):
            if self._peek().kind == "alias":
                self._next()
            else:
                parts.append(self._item())
        return parts[0] if len(parts) == 1 else self._keep(Chain(parts))

    def _item(self) -> Expression:
        atom = self._atom(self._next())
        while self._peek().text in _COUNTS or self._peek().kind == "counts":
            token = self._next()
            low, high = _COUNTS.get(token.text) or _counts(token.text)
            atom = self._keep(Repeat(atom, low, high))
        return atom

    def _atom(self, token: _Token) -> Expression:
        if token.text == "(":
            return self._closed(")")
        if token.text == "[" and self._lark:
            return self._keep(Repeat(self._closed("]"), 0, 1))
        if token.kind == "word":
            terminal = token.text.lstrip("_").isupper()
            return self._lexeme(self._rule(token.text)) if terminal else self._rule(token.text)
        if token.kind == "json":
            return self._keep(self._json_expression(token.value))
        return self._lexeme(self._keep(self._simple(token)))

    def _simple(self, token: _Token) -> Expression:
        if token.kind == "string":
            literal = _unescaped(token.text.removesuffix("i")[1:-1])
            if self._peek().kind != "range":
                return Literal(literal)
            self._next()
            last = _unescaped(self._next().text[1:-1])
            return regular(f"[{re.escape(literal)}-{re.escape(last)}]")
        if token.kind == "regex":
            return regular(token.text[1 : token.text.rindex("/")])
        if token.kind == "class":
            return regular(_class(token.text))
        if token.kind == "special":
            return Literal(token.text)
        if token.text == "." and not self._lark:
            return regular(".")
        raise ValueError(f"unexpected: {token.text or 'the end'}")

    def _lexeme(self, inner: Expression) -> Expression:
        return inner if self._in_terminal or not self._space else self._keep(Lexeme(inner, self._space))

    def _closed(self, end: str) -> Expression:
        inner = self._alternatives()
        if self._next().text != end:
            raise ValueError(f"{end} is missing")
        return inner


def _counts(text: str) -> tuple[int, int | None]:
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    if len(numbers) == 2:
        return numbers[0], numbers[1]
    return numbers[0], None if "," in text else numbers[0]


def _class(text: str) -> str:
    """A class of GBNF in the dialect of regular expressions: only some brackets must be escaped there."""
    inside = text[1:-1]
    negated = inside.startswith("^")
    return f"[{'^' if negated else ''}{inside[negated:].replace('[', chr(92) + '[')}]" if inside else "(?!)"


def _unescaped(text: str) -> str:
    def plain(found: re.Match[str]) -> str:
        code = found[1]
        return chr(int(code[1:], 16)) if len(code) > 1 else _NAMED_ESCAPES.get(code, code)

    return _ESCAPES.sub(plain, text)
