"""Which format each of vLLM's reasoning parsers reads."""

from functools import cache

from .base import ReasoningFormat
from .tags import TaggedReasoning

# Parsers that are not named here read what qwen3 does.
FORMATS: dict[str, type[ReasoningFormat]] = {"deepseek_r1": TaggedReasoning}


@cache
def reasoning_format(parser: str) -> ReasoningFormat:
    """The format of --reasoning-parser."""
    return FORMATS.get(parser, TaggedReasoning)()
