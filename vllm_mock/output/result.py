"""What parsing makes of one generated sequence: the whole message, and what each token adds to a stream."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class ToolCallDelta:
    """A part of one tool call; what is None has no key in the chunk. Those with an `id` begin a call."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str | None = None


@dataclass(slots=True)
class OutputDelta:
    """What one token adds. None: no key in the chunk, save for those that `null_…` shows as null."""

    reasoning: str | None = None
    content: str | None = None
    tool_calls: Sequence[ToolCallDelta] = ()
    null_content: bool = False
    null_reasoning: bool = False


@dataclass(slots=True)
class ToolCall:
    """A complete call; `arguments` is the text that the model gave, JSON where the model kept to it."""

    id: str
    name: str
    arguments: str


@dataclass(slots=True)
class ParsedOutput:
    """A parsed sequence; of a streamed answer it is what the deltas add up to.

    `deltas` has one entry per generated token, None where no chunk is sent (where several tokens make a chunk, the
    last of them has its delta); it is empty unless the answer is streamed.
    `reasoning_counts` is how many reasoning tokens there are up to and including each token; None without a
    reasoning parser. `calling` is how many deltas have a part of a call, whether shown or not; of a whole answer 1
    if it has a call.
    """

    reasoning: str | None
    content: str | None
    tool_calls: list[ToolCall]
    finish_reason: str
    deltas: list[OutputDelta | None] = field(default_factory=list)
    reasoning_counts: list[int] | None = None
    calling: int = 0

    @property
    def reasoning_tokens(self) -> int | None:
        """How many tokens belong to the reasoning; None without a reasoning parser."""
        counts = self.reasoning_counts
        return None if counts is None else counts[-1]


def joined(texts: Iterable[str | None]) -> str | None:
    """The texts that are given, as one; None when there are none."""
    given = [text for text in texts if text is not None]
    return "".join(given) if given else None
