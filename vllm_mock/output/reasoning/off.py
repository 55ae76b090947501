"""A parser that a request has switched off."""

from collections.abc import Sequence

from vllm_mock.output.result import OutputDelta

from .base import ReasoningFormat


class ReasoningOff(ReasoningFormat):
    """All of the text is content, tags included."""

    reads = False

    def whole(self, text: str) -> tuple[str | None, str | None]:
        return None, text

    def parts(self, text: str, ends: Sequence[int]) -> tuple[int, list[OutputDelta | None]]:
        return 0, [None] * len(ends)

    def counts(self, text: str, ends: Sequence[int]) -> list[int]:
        return [0] * len(ends)

    def is_over(self, prompt: str) -> bool:
        return True
