"""From a planned answer to what the API shows of it: first the reasoning is taken off, then tool calls are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

from .reasoning import ReasoningFormat
from .result import OutputDelta, ParsedOutput, ToolCall, joined
from .tool_stream import ToolStream
from .tools import ToolFormat

if TYPE_CHECKING:
    from vllm_mock.generation import ChoicePlan


@dataclass(slots=True)
class OutputParsing:
    """How an answer is read; None for a format that nothing is read in.

    `reasoning_over`: the prompt already ended the reasoning, so that a stream has none (vLLM does not look at the
    prompt of a whole answer). `stream_interval`: tokens of one chunk, of which vLLM's parsers see but the end.
    `hides_calls`: calls are taken off the text and shown to nobody. `request_type`: as what the metrics count it.
    """

    reasoning: ReasoningFormat | None = None
    tools: ToolFormat | None = None
    tool_choice: Literal["auto", "required", "named"] = "auto"
    functions: Sequence[Any] = ()
    parallel: bool = True
    include_reasoning: bool = True
    reasoning_over: bool = False
    streamed: bool = False
    stream_interval: int = 1
    hides_calls: bool = False
    request_type: Literal["chat_completions", "responses", "other"] = "chat_completions"

    @property
    def hides_tokens(self) -> bool:
        """Whether token ids and log probabilities are not shown, which would tell the hidden reasoning."""
        return self.reasoning is not None and not self.include_reasoning


def parse_output(plan: "ChoicePlan", how: OutputParsing) -> ParsedOutput:
    """Read the text of a plan. Never fails: what is no markup is content."""
    output = _streamed(plan, how) if how.streamed else _whole(plan.text, how)
    if how.tools is not None:
        output.calling = _calling(output)
    if how.hides_calls:
        _hide_calls(output)
    if not how.include_reasoning:
        output.reasoning = None
    if how.reasoning is not None:
        output.reasoning_counts = how.reasoning.counts(plan.text, ends_of(plan.deltas))
    # A forced function is no decision of the model's to call tools.
    called = output.tool_calls and how.tool_choice != "named" and plan.finish_reason == "stop"
    output.finish_reason = "tool_calls" if called else plan.finish_reason
    return output


def _calling(output: ParsedOutput) -> int:
    return sum(part is not None and bool(part.tool_calls) for part in output.deltas) or len(output.tool_calls[:1])


def ends_of(deltas: Sequence[str]) -> list[int]:
    """The position in the text, in characters, at which each token ends."""
    return list(accumulate(map(len, deltas)))


def _whole(text: str, how: OutputParsing) -> ParsedOutput:
    reasoning: str | None = None
    content: str | None = text
    if how.reasoning is not None:
        reasoning, content = how.reasoning.whole(text)
    calls: list[ToolCall] = []
    if how.tools is not None:
        found = how.tools.whole(content or "", how.functions)
        content = None if content is None else found.content
        form = how.tools
        calls = [ToolCall(call.id or form.new_id(), call.name, call.arguments) for call in found.calls]
        if not how.parallel:
            del calls[1:]
        if how.tool_choice != "auto":
            content = content or ""
    return ParsedOutput(reasoning, content, calls, "stop")


def _streamed(plan: "ChoicePlan", how: OutputParsing) -> ParsedOutput:
    ends = ends_of(plan.deltas)
    if how.stream_interval == 1:
        return _summed(_parts(plan.text, ends, how))
    last = len(ends) - 1
    flushed = [index for index in range(len(ends)) if index % how.stream_interval == 0 or index == last]
    parts: list[OutputDelta | None] = [None] * len(ends)
    for index, part in zip(flushed, _parts(plan.text, [ends[index] for index in flushed], how), strict=True):
        parts[index] = part
    return _summed(parts)


def _parts(text: str, ends: Sequence[int], how: OutputParsing) -> list[OutputDelta | None]:
    """What each of the chunks that end there shows."""
    parts: list[OutputDelta | None]
    if how.reasoning is None or how.reasoning_over:
        start = 0
        parts = [None] * len(ends)
    else:
        start, parts = how.reasoning.parts(text, ends)
    _add_content(parts, text, start, ends, how)
    return parts if how.include_reasoning else [_without_reasoning(part) for part in parts]


def _add_content(
    parts: list[OutputDelta | None], text: str, start: int, ends: Sequence[int], how: OutputParsing
) -> None:
    """Complete the deltas with what follows the reasoning, from character `start` on."""
    stream = None if how.tools is None else ToolStream(how.tools, text[start:], how.functions, how.parallel)
    for index, end in enumerate(ends):
        if end <= start:
            continue
        before = max(start, ends[index - 1] if index else 0)
        part = _content(text[before:end]) if stream is None else stream.advance(before - start, end - start)
        if part is not None and parts[index] is not None:
            part.reasoning = parts[index].reasoning  # type: ignore[union-attr]
        parts[index] = part or parts[index]


def _content(text: str) -> OutputDelta | None:
    return OutputDelta(content=text) if text else None


def _hide_calls(output: ParsedOutput) -> None:
    output.tool_calls = []
    output.deltas = [_without_calls(delta) for delta in output.deltas]


def _without_calls(part: OutputDelta | None) -> OutputDelta | None:
    if part is None or not part.tool_calls:
        return part
    return None if part.content is None and part.reasoning is None else OutputDelta(part.reasoning, part.content)


def _without_reasoning(part: OutputDelta | None) -> OutputDelta | None:
    if part is None or (part.content is None and not part.tool_calls and not part.null_content):
        return None
    part.reasoning = None
    part.null_reasoning = True
    return part


def _summed(parts: list[OutputDelta | None]) -> ParsedOutput:
    shown = [part for part in parts if part is not None]
    calls: dict[int, ToolCall] = {}
    for call in (call for part in shown for call in part.tool_calls):
        if call.id is not None:
            calls[call.index] = ToolCall(call.id, call.name or "", "")
        calls[call.index].arguments += call.arguments or ""
    return ParsedOutput(
        joined(part.reasoning for part in shown),
        joined(part.content for part in shown),
        list(calls.values()),
        "stop",
        parts,
    )
