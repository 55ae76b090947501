"""What a format of tool calls must say about itself."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

Call = tuple[str, str]


class Found(NamedTuple):
    """The content of a text and its calls, each a name and the text of the arguments."""

    content: str | None
    calls: list[Call]


class View(NamedTuple):
    """What an unfinished text shows so far; both parts only grow while the text goes on."""

    content: str
    calls: list[Call]


class ToolFormat(ABC):
    """A markup in which models call tools.

    `null_content`: a stream's chunks show the content as null beside calls. `first_arguments`: what the chunk with the
    name has as arguments, None for no such key.
    """

    null_content = False
    first_arguments: str | None = None

    @abstractmethod
    def write(self, calls: Sequence[tuple[str, dict[str, Any]]]) -> str:
        """The markup of calls, each a name and its arguments."""

    @abstractmethod
    def whole(self, text: str, functions: Sequence[Any]) -> Found:
        """Read a finished text. Never fails: what is no markup is content."""

    @abstractmethod
    def visible(self, text: str, functions: Sequence[Any]) -> View:
        """Read a text that may go on."""

    @abstractmethod
    def plain_length(self, text: str) -> int:
        """How many characters at the beginning are content, whatever comes after them."""


def held_back(text: str, marker: str) -> int:
    """How many characters at the end of a text could be the beginning of a marker, but not all of it."""
    for length in range(min(len(marker) - 1, len(text)), 0, -1):
        if text.endswith(marker[:length]):
            return length
    return 0
