"""Every format of tool calls: what it writes it reads again, whole and in streams, and nothing makes it fail."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from vllm_mock.generation import ChoicePlan
from vllm_mock.output import OutputParsing, ParsedOutput, parse_output, tool_format
from vllm_mock.output.tools.registry import FORMATS
from vllm_mock.settings.parsers import TOOL_PARSERS

SCHEMA = {
    "type": "object",
    "properties": {
        "a": {"type": "integer"},
        "s": {"type": "string"},
        "o": {"type": "object"},
        "l": {"type": ["array", "null"]},
        "b": {"$ref": "#/$defs/flag"},
        "u": {"anyOf": [{"type": "null"}, {"type": "integer"}]},
        "e": {"enum": [1, "two"]},
    },
    "$defs": {"flag": {"type": "boolean"}},
}
FUNCTIONS = [
    SimpleNamespace(function=SimpleNamespace(name="f", parameters=SCHEMA)),
    SimpleNamespace(function=SimpleNamespace(name="g", parameters=None)),
]
ARGUMENTS = {
    "a": 1,
    "s": 'x "y"\n{z} <b> é',
    "o": {"k": [1, {"z": None}]},
    "l": [1, "2"],
    "b": True,
    "u": None,
    "e": "two",
}
CALLS: list[Any] = [("f", ARGUMENTS), ("g", {})]
# One parser for each format.
PARSERS = sorted({form: parser for parser, form in sorted(FORMATS.items(), reverse=True)}.values())
ONLY_AT_THE_BEGINNING = ("llama3_json", "llama4_pythonic")


def plan(text: str, size: int = 1) -> ChoicePlan:
    deltas = [text[i : i + size] for i in range(0, len(text), size)] + [""]
    return ChoicePlan(list(range(len(deltas))), deltas, "stop")


def read(parser: str, text: str, *, choice: Any = "auto", size: int = 1, streamed: bool = False) -> ParsedOutput:
    form = tool_format(parser, choice, "f")
    how = OutputParsing(tools=form, tool_choice=choice, functions=FUNCTIONS, streamed=streamed)
    return parse_output(plan(text, size), how)


def calls_of(output: ParsedOutput) -> list[tuple[str, Any]]:
    return [(call.name, json.loads(call.arguments)) for call in output.tool_calls]


def test_the_table_names_vllms_parsers_only() -> None:
    assert set(FORMATS) <= set(TOOL_PARSERS)
    assert len(PARSERS) == 11


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("before", ["", "Well, "])
def test_what_is_written_is_read(parser: str, before: str) -> None:
    if before and parser in ONLY_AT_THE_BEGINNING:
        return
    text = before + tool_format(parser).write(CALLS)
    whole = read(parser, text)
    assert calls_of(whole) == CALLS
    assert (whole.content or "").strip() == before.strip()
    assert whole.finish_reason == "tool_calls"
    for size in (1, 3, 7, 1000):
        stream = read(parser, text, size=size, streamed=True)
        assert [(c.name, c.arguments) for c in stream.tool_calls] == [(c.name, c.arguments) for c in whole.tool_calls]
        assert (stream.content or "") == before
        assert stream.finish_reason == "tool_calls"
        assert len(stream.deltas) == len(plan(text, size).deltas)


@pytest.mark.parametrize("parser", PARSERS)
def test_an_answer_without_calls_is_content(parser: str) -> None:
    for text in ("Hello.", "a < b, {c}, [d] and (e)", ""):
        assert read(parser, text).content == text
        stream = read(parser, text, streamed=True)
        assert (stream.content or "") == text
        assert stream.tool_calls == []
        assert stream.finish_reason == "stop"


@pytest.mark.parametrize("parser", PARSERS)
def test_a_stream_only_grows_wherever_it_ends(parser: str) -> None:
    text = "Well, "[: 0 if parser in ONLY_AT_THE_BEGINNING else None] + tool_format(parser).write(CALLS)
    whole = read(parser, text, streamed=True)
    for end in range(0, len(text), 3):
        read(parser, text[:end])
        cut = read(parser, text[:end], size=11, streamed=True)
        assert len(cut.tool_calls) <= len(whole.tool_calls)
        for call, complete in zip(cut.tool_calls, whole.tool_calls, strict=False):
            assert call.name == complete.name
            assert complete.arguments.startswith(call.arguments)


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("choice", ["required", "named"])
def test_demanded_calls(parser: str, choice: str) -> None:
    calls = CALLS if choice == "required" else CALLS[:1]
    text = tool_format(parser, choice, "f").write(calls)
    for streamed in (False, True):
        output = read(parser, text, choice=choice, streamed=streamed)
        assert calls_of(output) == calls
        assert output.finish_reason == ("stop" if choice == "named" else "tool_calls")


def test_ids() -> None:
    text = tool_format("kimi_k2").write(CALLS)
    assert [call.id for call in read("kimi_k2", text).tool_calls] == ["functions.f:0", "functions.g:1"]
    (first, _) = read("mistral", tool_format("mistral").write(CALLS)).tool_calls
    assert len(first.id) == 9
    assert first.id.isalnum()
    (first, _) = read("hermes", tool_format("hermes").write(CALLS)).tool_calls
    assert first.id.startswith("chatcmpl-tool-")


def test_the_schema_decides_about_types() -> None:
    text = "<function=f><parameter=s>5</parameter><parameter=a>5</parameter><parameter=z>5</parameter></function>"
    assert calls_of(read("qwen3_xml", text)) == [("f", {"s": "5", "a": 5, "z": "5"})]
    text = "<function=f><parameter=a>five</parameter></function>"
    assert calls_of(read("qwen3_xml", text)) == [("f", {"a": "five"})]
