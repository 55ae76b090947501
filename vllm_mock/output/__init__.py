"""What the API shows of the raw text of a model: content, reasoning and tool calls, as vLLM's parsers find them."""

from .parsing import OutputParsing, parse_output
from .result import OutputDelta, ParsedOutput, ToolCall, ToolCallDelta

__all__ = ["OutputDelta", "OutputParsing", "ParsedOutput", "ToolCall", "ToolCallDelta", "parse_output"]
