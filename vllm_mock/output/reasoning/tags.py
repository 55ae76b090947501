"""Reasoning between two tags, such as <think> and </think>.

In vLLM's vocabularies each tag is one token, so that the beginning of one is never mistaken for text or held back.
Here the whole text is known, which comes to the same.
"""

import re
from collections.abc import Sequence

from vllm_mock.output.result import OutputDelta
from vllm_mock.output.text import held_back

from .base import ReasoningFormat

Span = tuple[int, int]


class TaggedReasoning(ReasoningFormat):
    """All up to the end tag is reasoning, with or without a start tag; without an end tag all of the text is."""

    always = True

    def whole(self, text: str) -> tuple[str | None, str | None]:
        before, tag, after = text.partition(self.start)
        reasoning, _, content = (after if tag else before).partition(self.end)
        return reasoning, content or None

    def parts(self, text: str, ends: Sequence[int]) -> tuple[int, list[OutputDelta | None]]:
        stop = text.find(self.end)
        spans = self._spans(text, len(text) if stop < 0 else stop)
        parts = []
        current = start = 0
        for end in ends:
            while current < len(spans) and spans[current][1] < start:
                current += 1
            parts.append(_part(text, start, end, spans[current:]))
            start = end
        return len(text) + 1 if stop < 0 else stop + len(self.end), parts

    def counts(self, text: str, ends: Sequence[int]) -> list[int]:
        tags = [(match.start(), match.end(), match[0] == self.start) for match in self._tags(text)]
        counts = []
        current = count = depth = 0
        for end in ends:
            if depth and (current == len(tags) or end <= tags[current][0]):
                count += 1
            while current < len(tags) and tags[current][1] <= end:
                depth = depth + 1 if tags[current][2] else max(0, depth - 1)
                current += 1
            counts.append(count)
        return counts

    def is_over(self, prompt: str) -> bool:
        return prompt.rfind(self.end) > prompt.rfind(self.start)

    def _tags(self, text: str) -> Sequence[re.Match[str]]:
        return list(re.finditer(f"{re.escape(self.start)}|{re.escape(self.end)}", text))

    def _spans(self, text: str, stop: int) -> list[Span]:
        """The stretches of a text up to `stop` that no start tag interrupts."""
        tags = [match.span() for match in re.finditer(re.escape(self.start), text[:stop])]
        begins = [0, *(end for _, end in tags)]
        return list(zip(begins, [*(start for start, _ in tags), stop], strict=True))


class ImpliedReasoning(TaggedReasoning):
    """The same, begun by the prompt: the start tag is no more than noise, and all tokens up to the end tag count."""

    def whole(self, text: str) -> tuple[str | None, str | None]:
        reasoning, _, content = text.partition(self.end)
        shown = reasoning.replace(self.start, "")
        return shown or None, content.replace(self.start, "").replace(self.end, "") or None

    def parts(self, text: str, ends: Sequence[int]) -> tuple[int, list[OutputDelta | None]]:
        over, parts = super().parts(text, self._certain(text, ends))
        # A token without a text shows nothing here.
        return over, [part if part is not None and part.reasoning else None for part in parts]

    def counts(self, text: str, ends: Sequence[int]) -> list[int]:
        stop = text.find(self.end)
        spans = self._spans(text, len(text) if stop < 0 else stop)
        counts = []
        current = count = start = 0
        for end in ends:
            while current < len(spans) and spans[current][1] <= start:
                current += 1
            if current < len(spans) and spans[current][0] <= start < spans[current][1]:
                count += 1
            counts.append(count)
            start = end
        return counts

    def _certain(self, text: str, ends: Sequence[int]) -> list[int]:
        """The ends without what could still become a tag; the last token settles that."""
        held = [max(held_back(text[:end], self.start), held_back(text[:end], self.end)) for end in ends[:-1]]
        return [*(end - length for end, length in zip(ends, held, strict=False)), ends[-1]]


class ExplicitReasoning(TaggedReasoning):
    """Reasoning only where the start tag is: a text without it has none."""

    always = False

    def whole(self, text: str) -> tuple[str | None, str | None]:
        return super().whole(text) if self.start in text else (None, text)

    def parts(self, text: str, ends: Sequence[int]) -> tuple[int, list[OutputDelta | None]]:
        return super().parts(text, ends) if self.start in text else (0, [None] * len(ends))


class MistralReasoning(ExplicitReasoning):
    start = "[THINK]"
    end = "[/THINK]"


class SeedReasoning(ImpliedReasoning):
    start = "<seed:think>"
    end = "</seed:think>"


class CohereReasoning(ExplicitReasoning):
    start = "<|START_THINKING|>"
    end = "<|END_THINKING|>"


def _part(text: str, start: int, end: int, spans: Sequence[Span]) -> OutputDelta | None:
    """What the characters start..end-1 show of the spans, the first of which is the first not before them.

    A token without a text shows an empty one inside the reasoning.
    """
    if start == end:
        return OutputDelta(reasoning="") if spans and spans[0][0] <= start else None
    shown = ""
    for first, last in spans:
        if first >= end:
            break
        shown += text[max(first, start) : min(last, end)]
    return OutputDelta(reasoning=shown) if shown else None
