"""From a planned answer to what the API shows of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .result import ParsedOutput

if TYPE_CHECKING:
    from vllm_mock.generation import ChoicePlan


@dataclass(slots=True)
class OutputParsing:
    """Which parsers read an answer. `tool_choice` is none, auto, required or named."""

    tool_parser: str | None = None
    reasoning_parser: str | None = None
    tool_choice: str = "none"
    tools: Sequence[Any] = ()
    include_reasoning: bool = True
    streamed: bool = False


def parse_output(plan: "ChoicePlan", how: OutputParsing) -> ParsedOutput:
    """Read the text of a plan. Never fails: what is no markup is content."""
    from .think import parse_thinking

    return parse_thinking(plan, how)
