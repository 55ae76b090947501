"""What a format of reasoning must say about itself."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from vllm_mock.output.result import OutputDelta


class ReasoningFormat(ABC):
    """A way in which models tell their reasoning from the answer. Positions are in characters.

    `start` and `end` stand around it. `always`: without reasoning, too, both must be written, or all of the text would
    be taken for it. `reads`: whether anything is reasoning at all.
    """

    start = "<think>"
    end = "</think>"
    always = False
    reads = True

    @abstractmethod
    def whole(self, text: str) -> tuple[str | None, str | None]:
        """The reasoning and the rest of a finished text."""

    @abstractmethod
    def parts(self, text: str, ends: Sequence[int]) -> tuple[int, list[OutputDelta | None]]:
        """Where the rest begins, and what each token (by its end) shows of the reasoning in a stream."""

    @abstractmethod
    def counts(self, text: str, ends: Sequence[int]) -> list[int]:
        """How many reasoning tokens there are up to and including each token."""

    @abstractmethod
    def is_over(self, prompt: str) -> bool:
        """Whether the prompt ends behind a finished reasoning."""
