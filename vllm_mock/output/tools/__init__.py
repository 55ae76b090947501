"""The formats in which models call tools, by the names of vLLM's parsers."""

from .base import Call, Found, ToolFormat
from .registry import tool_format

__all__ = ["Call", "Found", "ToolFormat", "tool_format"]
