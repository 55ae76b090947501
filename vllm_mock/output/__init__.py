"""What the API shows of the raw text of a model: content, reasoning and tool calls, as vLLM's parsers find them."""

from .parsing import OutputParsing, parse_output
from .reasoning import ReasoningFormat, reasoning_format
from .result import OutputDelta, ParsedOutput, ToolCall, ToolCallDelta
from .tools import ToolFormat, tool_format

__all__ = [
    "OutputDelta",
    "OutputParsing",
    "ParsedOutput",
    "ReasoningFormat",
    "ToolCall",
    "ToolCallDelta",
    "ToolFormat",
    "parse_output",
    "reasoning_format",
    "tool_format",
]
