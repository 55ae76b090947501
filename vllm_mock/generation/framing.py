"""What a model writes around, or instead of, a plain answer: its reasoning before it, calls of tools in its place."""

from collections.abc import Callable
from dataclasses import dataclass

from .draws import Draws

# Shares of an answer's tokens that go to reasoning, by reasoning_effort.
EFFORT_SHARES = {"none": 0.0, "minimal": 0.1, "low": 0.2, "medium": 0.4, "high": 0.6, "xhigh": 0.7, "max": 0.8}
USUAL_SHARE = EFFORT_SHARES["medium"]


@dataclass(slots=True)
class Reasoning:
    """Reasoning of about a `share` of the answer's tokens, and of at most `budget` tokens, between two tags."""

    start: str
    end: str
    share: float = USUAL_SHARE
    budget: int | None = None

    def length(self, answer: int) -> int:
        """How many tokens of an answer of that many are reasoning, its tags not counted."""
        tokens = int(self.share * answer)
        if self.share > 0:
            tokens = max(tokens, 1)
        return tokens if self.budget is None else min(tokens, self.budget)


@dataclass(slots=True)
class Framing:
    """`calls` writes the markup that calls tools; None for a text."""

    reasoning: Reasoning | None = None
    calls: Callable[[Draws], str] | None = None
