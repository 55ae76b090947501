"""The formats in which models show their reasoning, by the names of vLLM's parsers."""

from .base import ReasoningFormat
from .registry import reasoning_format

__all__ = ["ReasoningFormat", "reasoning_format"]
