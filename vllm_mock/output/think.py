"""Reasoning between <think> and </think>."""

from itertools import accumulate
from typing import TYPE_CHECKING

from .result import OutputDelta, ParsedOutput

if TYPE_CHECKING:
    from vllm_mock.generation import ChoicePlan

    from .parsing import OutputParsing

_START, _END = "<think>", "</think>"


def parse_thinking(plan: "ChoicePlan", how: "OutputParsing") -> ParsedOutput:
    """Everything up to </think> is reasoning; without it, the whole text."""
    before, end, after = plan.text.removeprefix(_START).partition(_END)
    deltas: list[OutputDelta | None] = []
    inside: list[bool] = []
    thinking = True
    for text in plan.deltas:
        inside.append(thinking and text not in (_START, _END))
        if text == _END:
            thinking = False
        if not text or text in (_START, _END):
            deltas.append(None)
        elif thinking:
            deltas.append(OutputDelta(reasoning=text) if how.include_reasoning else None)
        else:
            deltas.append(OutputDelta(content=text))
    return ParsedOutput(
        reasoning=before if how.include_reasoning else None,
        content=(after or None) if end else None,
        tool_calls=[],
        finish_reason=plan.finish_reason,
        deltas=deltas,
        reasoning_counts=list(accumulate(inside)),
    )
