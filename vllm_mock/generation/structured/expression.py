"""Expressions that texts are written from: what regular expressions and grammars come down to.

Each knows the lengths of the texts it stands for, in characters, so that a text can be held between two bounds.
"""

import math
from collections.abc import Callable, Sequence

from vllm_mock.generation.draws import Draws

from .characters import Characters
from .words import SENTENCES, WORDS

INFINITE = math.inf
# Texts end about here, whatever they lack: only the beginning of a text that is too long is ever said.
LONGEST_TEXT = 60_000
# Nested rules beyond this depth take their shortest form.
_MAX_DEPTH = 40


class Pen:
    """Writes one text, which may end when it is beyond `longest` characters."""

    def __init__(self, draws: Draws, longest: float = LONGEST_TEXT) -> None:
        self.draws = draws
        self.longest = longest
        self.parts: list[str] = []
        self.groups: dict[int, str] = {}
        self.depth = 0
        self._length = 0

    def put(self, text: str) -> int:
        """Add to the text; returns the number of characters."""
        self.parts.append(text)
        self._length += len(text)
        return len(text)

    @property
    def is_full(self) -> bool:
        """Whether the text is as long as it may become."""
        return self._length > self.longest

    @property
    def text(self) -> str:
        """What has been written."""
        return "".join(self.parts)


class Expression:
    """Stands for a set of texts.

    `shortest` and `longest` are their lengths in characters, `height` the depth of the derivation of a shortest one
    (infinite while not known): following lower heights always ends.
    """

    shortest: float = INFINITE
    longest: float = 0
    height: float = INFINITE

    def measure(self) -> None:
        """Compute the lengths from those of the parts."""

    def write(self, pen: Pen, least: float, most: float) -> int:
        """Write one of the texts, if possible of `least` to `most` characters; returns its length."""
        raise NotImplementedError


class Literal(Expression):
    """One text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.shortest = self.longest = len(text)
        self.height = 0

    def write(self, pen: Pen, least: float, most: float) -> int:
        return pen.put(self.text)


class OneOf(Expression):
    """One character of a set."""

    shortest: float = 1
    longest = 1
    height = 0

    def __init__(self, characters: Characters) -> None:
        self.characters = characters
        if not characters:
            self.shortest = INFINITE

    def write(self, pen: Pen, least: float, most: float) -> int:
        return pen.put(self.characters.draw(pen.draws))


class Chain(Expression):
    """One after the other."""

    def __init__(self, parts: Sequence[Expression]) -> None:
        self.parts = parts
        self.measure()

    def measure(self) -> None:
        shortest = longest = 0.0
        self._after: list[tuple[float, float]] = []
        for part in reversed(self.parts):
            self._after.append((shortest, longest))
            shortest += part.shortest
            longest += part.longest
        self._after.reverse()
        self.shortest, self.longest = shortest, longest
        self.height = 1 + max((part.height for part in self.parts), default=0)

    def write(self, pen: Pen, least: float, most: float) -> int:
        written = 0
        for part, (shortest, longest) in zip(self.parts, self._after, strict=True):
            written += part.write(pen, least - written - longest, most - written - shortest)
        return written


class Choice(Expression):
    """One of several."""

    def __init__(self, options: Sequence[Expression]) -> None:
        self.options = options
        self.measure()

    def measure(self) -> None:
        best = min(self.options, key=_cost, default=Expression())
        self.shortest, self.height = best.shortest, best.height + 1
        self.longest = max((option.longest for option in self.options), default=0)

    def write(self, pen: Pen, least: float, most: float) -> int:
        fitting = [option for option in self.options if option.shortest <= most and option.longest >= least]
        deep = pen.depth > _MAX_DEPTH or pen.draws.chance(2 * pen.depth)
        if not fitting or (deep and least <= 0):
            return min(self.options, key=_cost).write(pen, least, most)
        finite = [option for option in fitting if option.height != INFINITE]
        return pen.draws.pick(finite or fitting).write(pen, least, most)


class Repeat(Expression):
    """`low` to `high` times the same; no end if `high` is None."""

    def __init__(self, item: Expression, low: int, high: int | None) -> None:
        self.item = item
        self.low = low
        self.high = INFINITE if high is None else high
        self.measure()

    def measure(self) -> None:
        self.shortest = self.low * self.item.shortest if self.low else 0
        self.longest = self.high * self.item.longest if self.high and self.item.longest else 0
        self.height = 1 + self.item.height if self.low else 0

    def write(self, pen: Pen, least: float, most: float) -> int:
        if isinstance(self.item, OneOf):
            return self._write_run(pen, self.item.characters, least, most)
        written = count = 0
        while count < self.high and not pen.is_full:
            needed = max(0, self.low - count - 1)
            if count >= self.low and written >= least and not self._goes_on(pen, most - written):
                break
            left = self.high - count - 1
            later = left * self.item.longest if left and self.item.longest else 0
            reserve = needed * self.item.shortest if needed else 0
            added = self.item.write(pen, least - written - later, most - written - reserve)
            written += added
            count += 1
            if not added and count >= self.low:
                break
        return written

    def _goes_on(self, pen: Pen, most: float) -> bool:
        return self.item.shortest <= most and pen.depth <= _MAX_DEPTH and pen.draws.chance(60)

    def _write_run(self, pen: Pen, characters: Characters, least: float, most: float) -> int:
        if not characters:
            return 0
        low = min(max(self.low, least), self.high, pen.longest)
        high = max(low, min(self.high, most, low + characters.usual_run))
        if characters.has_letters and " " not in characters:
            fitting = [word for word in WORDS if low <= len(word) <= high]
            if fitting:
                return pen.put(pen.draws.pick(fitting))
        count = pen.draws.between(int(low), int(high))
        if characters.has_letters and count > 1:
            return pen.put(_prose(characters, count, pen.draws))
        return pen.put("".join(characters.draw(pen.draws) for _ in range(count)))


class Group(Expression):
    """A part that may be repeated later."""

    def __init__(self, number: int, inner: Expression) -> None:
        self.number = number
        self.inner = inner
        self.measure()

    def measure(self) -> None:
        self.shortest, self.longest, self.height = self.inner.shortest, self.inner.longest, self.inner.height

    def write(self, pen: Pen, least: float, most: float) -> int:
        start = len(pen.parts)
        written = self.inner.write(pen, least, most)
        pen.groups[self.number] = "".join(pen.parts[start:])
        return written


class Again(Expression):
    """What a group has written before."""

    shortest = height = 0

    def __init__(self, number: int) -> None:
        self.number = number

    def write(self, pen: Pen, least: float, most: float) -> int:
        return pen.put(pen.groups.get(self.number, ""))


class Rule(Expression):
    """A part of a grammar with a name, which may contain itself; `inner` is set when it is known."""

    longest = INFINITE
    inner: Expression | None = None

    def measure(self) -> None:
        if self.inner is not None:
            self.shortest, self.height = self.inner.shortest, self.inner.height + 1

    def write(self, pen: Pen, least: float, most: float) -> int:
        if self.inner is None:
            return 0
        pen.depth += 1
        written = self.inner.write(pen, least, most)
        pen.depth -= 1
        return written


class Lexeme(Expression):
    """A word of a language in which white space may stand between words: set off where two would become one."""

    longest = INFINITE

    def __init__(self, inner: Expression, space: str) -> None:
        self.inner = inner
        self._space = space
        self.measure()

    def measure(self) -> None:
        # With the space that it may need.
        self.shortest, self.height = self.inner.shortest + len(self._space), self.inner.height + 1

    def write(self, pen: Pen, least: float, most: float) -> int:
        before = "".join(pen.parts[-2:])[-1:]
        index = len(pen.parts)
        written = self.inner.write(pen, least, most - len(self._space))
        after = "".join(pen.parts[index:])[:1]
        if _is_wordlike(before) and _is_wordlike(after):
            pen.parts.insert(index, self._space)
            written += len(self._space)
        return written


class Written(Expression):
    """A text that something else writes: `write_text(draws, least, most)`."""

    height = 0

    def __init__(self, shortest: float, longest: float, write_text: Callable[[Draws, float, float], str]) -> None:
        self.shortest = shortest
        self.longest = longest
        self._write_text = write_text

    def write(self, pen: Pen, least: float, most: float) -> int:
        return pen.put(self._write_text(pen.draws, least, most))


def settle(expressions: Sequence[Expression]) -> None:
    """Measure the parts of a grammar, parts before wholes, until nothing changes."""
    before: list[tuple[float, float]] = []
    while True:
        for part in expressions:
            part.measure()
        now = [_cost(part) for part in expressions]
        if now == before:
            return
        before = now


def _is_wordlike(character: str) -> bool:
    return character.isalnum() or character == "_" or character == "."


def _cost(expression: Expression) -> tuple[float, float]:
    return expression.shortest, expression.height


def _prose(characters: Characters, count: int, draws: Draws) -> str:
    """A run of `count` characters that reads like prose, without spaces where there can be none."""
    space = " " if " " in characters else ""
    text = ""
    while len(text) < count:
        text += draws.pick(SENTENCES).lower().removesuffix(".").replace(" ", space) + space
    return text[:count].rstrip().ljust(count, "e")
