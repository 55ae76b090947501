"""Which format each of vLLM's tool parsers reads."""

from functools import cache

from .base import ToolFormat
from .hermes import Hermes

# Parsers that are not named here read what Hermes does.
FORMATS: dict[str, type[ToolFormat]] = {"hermes": Hermes}


@cache
def tool_format(parser: str) -> ToolFormat:
    """The format of --tool-call-parser."""
    return FORMATS.get(parser, Hermes)()
