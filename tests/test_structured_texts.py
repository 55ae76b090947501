"""Texts of every constraint that vLLM 0.33.0 is recorded to take; the bounds of expressions and grammars."""

import json
import re
from pathlib import Path
from typing import Any

import llguidance
import pytest
from jsonschema import Draft202012Validator

from vllm_mock.generation.draws import Draws
from vllm_mock.generation.structured.structure import Structure, source

_LINES = (Path(__file__).parent / "contract" / "structured.jsonl").read_text().splitlines()
_RECORDS = [json.loads(line) for line in _LINES]
TAKEN = [record["structured_outputs"] for record in _RECORDS if record["refusal"] is None]
# What only xgrammar reads: there the answer is free text.
_NOT_FOLLOWED = {'root ::= TagDispatch(("a", root))'}
_WITHOUT_TEXT = ("root ::= root", "root ::= a\na ::= a")
BYTES = llguidance.LLTokenizer("byte")
SQL = """start: "select" NAME ("," NAME)* "from" NAME [where]
where: "where" NAME "=" (NUMBER | ESCAPED_STRING)
%import common.CNAME -> NAME
%import common.NUMBER
%import common.ESCAPED_STRING
%import common.WS
%ignore WS"""
ARITHMETIC = """root ::= expr
expr ::= term (("+" | "-" | "*" | "/") term)*
term ::= number | "(" expr ")"
number ::= [0-9]{1,3} ("." [0-9]+)?"""
JSON = """root ::= value
value ::= object | array | string | number
object ::= "{" (string ":" value ("," string ":" value)*)? "}"
array ::= "[" (value ("," value)*)? "]"
string ::= "\\"" [a-z ]* "\\""
number ::= "-"? [1-9] [0-9]*"""


def texts(kind: Any, value: str) -> list[str]:
    made = source(Structure(kind, value))
    return [made.text(Draws(key), most, longest=2000) for key, most in ((1, None), (2, None), (3, 20), (4, 0))]


def is_accepted(grammar: str, text: str) -> bool:
    matcher = llguidance.LLMatcher(BYTES, grammar)
    data = list(text.encode())
    return matcher.try_consume_tokens(data) == len(data) and matcher.is_accepting()


@pytest.mark.parametrize("kind", ["regex", "json", "grammar", "structural_tag", "choice"])
def test_every_recorded_constraint_is_followed(kind: Any) -> None:
    for outputs in TAKEN:
        # Rust intersects two classes in [a&&b], Python and xgrammar do not.
        if kind not in outputs or "&&" in outputs[kind] or outputs[kind] in _WITHOUT_TEXT:
            continue
        value = outputs[kind] if isinstance(outputs[kind], str) else json.dumps(outputs[kind])
        if value in _NOT_FOLLOWED:
            with pytest.raises(ValueError, match=r"\w"):
                source(Structure(kind, value))
            continue
        for text in texts(kind, value):
            check(kind, value, text)


def check(kind: str, value: str, text: str) -> None:
    if kind == "choice":
        assert text in json.loads(value)
    if kind == "json" and len(text) < 2000:
        json.loads(text)
    # Of two words that could be one llguidance makes one, xgrammar, which vLLM asks first, two.
    if kind in ("grammar", "regex") and len(text) < 1000 and not value.startswith("start: a+"):
        grammar = llguidance.grammar_from(kind, value) if is_read_by_llguidance(kind, value) else None
        assert grammar is None or "<" in value or is_accepted(grammar, text), (value, text)


def is_read_by_llguidance(kind: str, value: str) -> bool:
    try:
        return not llguidance.LLMatcher.validate_grammar(llguidance.grammar_from(kind, value))
    except ValueError:
        return False


@pytest.mark.parametrize("grammar", [SQL, ARITHMETIC, JSON])
def test_grammars_are_followed_at_any_length(grammar: str) -> None:
    compiled = llguidance.grammar_from("grammar", grammar)
    made = source(Structure("grammar", grammar))
    lengths = set()
    for key in range(60):
        most = (None, 100, 30, 0)[key % 4]
        text = made.text(Draws(key), most)
        lengths.add(len(text))
        assert is_accepted(compiled, text), text
        assert most is None or len(text) <= max(most, made.shortest)
    assert len(lengths) > 5


@pytest.mark.parametrize(
    "pattern",
    [
        *(r"[A-Z]{3}-\d{4}", r"\w+@\w+\.com", "(foo|ba[rz])+x?", ".*foo", r"[^:\n]*: end", r"(\d{1,3}\.){3}\d{1,3}"),
        *(r"\d{4}-\d{2}-\d{2}", "(Yes|No), .{10,50}", r"[\u4e00-\u9fff]{3}", r"\s+x\S+", "[^a-z]{3}", "(a|b|)c"),
    ],
)
def test_patterns_are_matched_whole(pattern: str) -> None:
    made = source(Structure("regex", pattern))
    for key in range(20):
        most = (None, 60, 0)[key % 3]
        text = made.text(Draws(key), most)
        assert re.fullmatch(pattern, text), text
        assert most is None or len(text) <= max(most, made.shortest)


@pytest.mark.parametrize(
    ("pattern", "python"),
    [
        # An escaped letter that means nothing is the letter.
        *((r"\h+", "h+"), (r"\Qa.b\E", "Qa.bE"), (r"\R\X", "RX"), (r"\g{2}", "gg"), (r"\e\U1", "eU1")),
        *(("[^]", "(?s:.)"), (r"[\d-a]{9}", r"[\d\-a]{9}")),
    ],
)
def test_what_xgrammar_alone_reads_is_written(pattern: str, python: str) -> None:
    made = source(Structure("regex", pattern))
    assert re.fullmatch(python, made.text(Draws(1)))


def test_what_only_llguidance_reads_is_written_along_it() -> None:
    for kind, value in (
        ("regex", "a{1,2}{3}"),
        ("grammar", 'start: %regex {"substring_words": "the quick brown fox"}'),
    ):
        compiled = llguidance.grammar_from(kind, value)
        found = texts(kind, value)
        assert len(set(found)) > 1
        assert all(is_accepted(compiled, text) for text in found)


def test_strings_keep_to_pattern_and_lengths() -> None:
    schema = {"type": "string", "pattern": "^[a-c]+(-[a-c]+)*$", "minLength": 12, "maxLength": 14}
    for text in texts("json", json.dumps(schema)):
        assert Draft202012Validator(schema).is_valid(json.loads(text)), text
