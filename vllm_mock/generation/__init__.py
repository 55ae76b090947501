"""What is said: the tokens of each answer, their text, and why it ends. When they come the engine decides."""

from .logprobs import TokenLogprobs
from .plan import Generator
from .spec import ChoicePlan, SamplingSpec

__all__ = ["ChoicePlan", "Generator", "SamplingSpec", "TokenLogprobs"]
