"""The formats in which models call tools, by the names of vLLM's parsers."""

from .base import Found, ToolFormat, View
from .registry import tool_format

__all__ = ["Found", "ToolFormat", "View", "tool_format"]
