"""The formats in which models call tools, by the names of vLLM's parsers."""

from .base import Call, Found, ToolFormat, View
from .registry import tool_format

__all__ = ["Call", "Found", "ToolFormat", "View", "tool_format"]
