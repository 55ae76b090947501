"""Which format each of vLLM's reasoning parsers reads."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from .base import ReasoningFormat
from .off import ReasoningOff
from .tags import CohereReasoning, ImpliedReasoning, MistralReasoning, SeedReasoning, TaggedReasoning

# Parsers that are not named here read what qwen3 does.
FORMATS: dict[str, type[ReasoningFormat]] = {
    "cohere_command3": CohereReasoning,
    "cohere_command4": CohereReasoning,
    "deepseek_r1": TaggedReasoning,
    "deepseek_v3": TaggedReasoning,
    "mistral": MistralReasoning,
    "seed_oss": SeedReasoning,
}
# What the arguments of the chat template mean to a parser. Others do not look at them.
_OFF_BY_DEFAULT = frozenset(("deepseek_v3", "deepseek_v4", "deepseek_v41", "holo2"))
_NEVER_OFF = frozenset(("deepseek_r1", "mistral"))


def reasoning_format(parser: str, template_arguments: Mapping[str, Any]) -> ReasoningFormat:
    """The format of --reasoning-parser, for a request with these arguments of the chat template."""
    if parser in _NEVER_OFF:
        return _format(parser)
    if parser in _OFF_BY_DEFAULT:
        on = bool(template_arguments.get("thinking") or template_arguments.get("enable_thinking"))
    else:
        on = bool(template_arguments.get("enable_thinking", True))
    return _format(parser) if on else _OFF


@cache
def _format(parser: str) -> ReasoningFormat:
    return FORMATS.get(parser, ImpliedReasoning)()


_OFF = ReasoningOff()
