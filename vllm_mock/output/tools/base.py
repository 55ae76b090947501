"""What a format of tool calls must say about itself."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple


class Call(NamedTuple):
    """A call as it is written: `arguments` is their text so far, `id` the one that the markup gives, if any."""

    name: str
    arguments: str
    id: str | None = None


class Found(NamedTuple):
    """The content of a finished text, and its calls."""

    content: str | None
    calls: list[Call]


class ToolFormat(ABC):
    """A markup in which models call tools.

    `null_content`: a stream's chunks show the content as null beside calls. `joined_start`: the chunk with a call's
    name has the beginning of the arguments, too. `marks_end`: a token without a text adds an empty text to them.
    `shows_end`: such a token behind content shows an empty one. `forces_json`: demanded calls are JSON, not markup.
    `marker`: how markup begins; text that could become one is `held` back.
    """

    marker: str
    null_content = False
    joined_start = False
    marks_end = False
    shows_end = False
    forces_json = False
    held = True

    @abstractmethod
    def write(self, calls: Sequence[tuple[str, Any]]) -> str:
        """The markup of calls, each a name and its arguments."""

    @abstractmethod
    def whole(self, text: str, functions: Sequence[Any]) -> Found:
        """Read a finished text. Never fails: what is no markup is content."""

    @abstractmethod
    def visible(self, markup: str, functions: Sequence[Any]) -> list[Call]:
        """The calls of a text that may go on, from the first markup in it, as far as they are written."""

    def plain_length(self, text: str) -> int:
        """How many characters there are before the markup."""
        first = text.find(self.marker)
        return len(text) if first < 0 else first

    def new_id(self) -> str:
        """An id for a call that is written without one."""
        return f"chatcmpl-tool-{os.urandom(8).hex()}"
