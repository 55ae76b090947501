"""Which format each of vLLM's tool parsers reads."""

from functools import cache

from .base import ToolFormat
from .delimited import DeepSeekV3, DeepSeekV31, KimiK2, Mistral
from .elements import Glm, MiniMax, QwenXml, SeedOss
from .forced import ForcedArguments, ForcedList
from .hermes import Hermes
from .llama_json import LlamaJson
from .pythonic import Pythonic

# Parsers that are not named here read what Hermes does.
FORMATS: dict[str, type[ToolFormat]] = {
    "deepseek_v3": DeepSeekV3,
    "deepseek_v31": DeepSeekV31,
    "deepseek_v32": DeepSeekV31,
    "deepseek_v4": DeepSeekV31,
    "deepseek_v41": DeepSeekV31,
    "glm45": Glm,
    "glm47": Glm,
    "hermes": Hermes,
    "kimi_k2": KimiK2,
    "kimi_k3": KimiK2,
    "llama3_json": LlamaJson,
    "llama4_json": LlamaJson,
    "llama4_pythonic": Pythonic,
    "mimo": QwenXml,
    "minimax_m2": MiniMax,
    "minimax_m3": MiniMax,
    "mistral": Mistral,
    "olmo3": Pythonic,
    "pythonic": Pythonic,
    "qwen3_coder": QwenXml,
    "qwen3_xml": QwenXml,
    "seed_oss": SeedOss,
    "step3p5": QwenXml,
}


def tool_format(parser: str, choice: str = "auto", function: str = "") -> ToolFormat:
    """The format of --tool-call-parser for a tool_choice: auto, required or named, with the function's name."""
    usual = _format(parser)
    if choice == "auto" or not usual.forces_json:
        return usual
    return ForcedList() if choice == "required" else ForcedArguments(function)


@cache
def _format(parser: str) -> ToolFormat:
    return FORMATS.get(parser, Hermes)()
