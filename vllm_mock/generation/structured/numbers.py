"""Numbers within bounds, as JSON text."""

import math
from fractions import Fraction
from typing import TypeAlias

from vllm_mock.generation.draws import Draws

from .facts import Facts

Bound: TypeAlias = int | Fraction

# Parts of names: the usual range of such a number.
_USUAL = (
    ("year", 1990, 2026),
    ("age", 18, 80),
    ("month", 1, 12),
    ("day", 1, 28),
    ("hour", 0, 23),
    ("minute", 0, 59),
    ("lat", -60, 60),
    ("lon", -180, 180),
    ("score", 1, 10),
    ("rating", 1, 5),
    ("count", 1, 20),
    ("quantity", 1, 20),
    ("confidence", 0, 1),
    ("probability", 0, 1),
)
_USUAL_LOW, _USUAL_HIGH = 1, 100
_LARGEST = 10**15
# Decimals tried, the usual one first, until a number fits between close bounds.
_DECIMALS = (2, 1, 3, 4, 6, 9, 12, 15)
_TRIES = 40
_MANY = 100_000


def integer_text(facts: Facts, name: str, draws: Draws, shortest: bool) -> str:
    """An integer within the bounds; the nearest one if there is none."""
    low, high = _bounds(facts)
    step = _common_step(facts)
    lowest = math.ceil(low) if low is not None else None
    highest = math.floor(high) if high is not None else None
    first, last = map(int, _usual(lowest, highest, name, span=max(_USUAL_HIGH, 10 * step)))
    if step > 1:
        low_factor, high_factor = -(-first // step), max(last // step, -(-first // step))
        return str(step * (low_factor if shortest else draws.between(low_factor, high_factor)))
    if shortest:
        return str(min(max(0, first), max(first, last)))
    return str(draws.between(first, max(first, last)))


def integers(facts: Facts) -> range:
    """All integers within the bounds, or a great many of them."""
    low, high = _bounds(facts)
    step = _common_step(facts)
    first = math.ceil((0 if low is None else low) / step) * step
    last = first + _MANY if high is None else math.floor(high)
    return range(first, min(last, first + _MANY) + 1, step)


def number_text(facts: Facts, name: str, draws: Draws, shortest: bool) -> str:
    """A number within the bounds, with a decimal point where that fits."""
    low, high = _bounds(facts)
    if facts.steps:
        return _multiple(facts, low, high, draws)
    if shortest:
        whole = integer_text(facts, name, draws, shortest=True)
        if (low is None or int(whole) >= low) and (high is None or int(whole) <= high):
            return whole
    if low == high and low is not None:
        return _plain(float(low))
    first, last = _usual(low, high, name, span=_USUAL_HIGH)
    for decimals in _DECIMALS:
        unit = 10**decimals
        start, end = math.ceil(first * unit), math.floor(last * unit)
        if start < end or (start == end and low == high):
            return _plain(draws.between(start, end) / unit)
    return _plain(float((first + last) / 2))


def _bounds(facts: Facts) -> tuple[Fraction | None, Fraction | None]:
    """Bounds, inclusive; an exclusive one is moved by very little."""
    low = _finite(facts.minimum)
    above = _finite(facts.above)
    high = _finite(facts.maximum)
    below = _finite(facts.below)
    if above is not None:
        moved = above + _gap(above, below if below is not None else high)
        low = moved if low is None else max(low, moved)
    if below is not None:
        moved = below - _gap(below, low)
        high = moved if high is None else min(high, moved)
    return low, high


def _gap(bound: Fraction, other: Fraction | None) -> Fraction:
    """How far from an exclusive bound to stay: a whole step where there is room."""
    if other is None or abs(other - bound) >= 2:
        return Fraction(1, 100)
    return abs(other - bound) / 1000


def _finite(value: float | None) -> Fraction | None:
    return Fraction(str(value)) if value is not None and math.isfinite(value) else None


def _usual(low: Bound | None, high: Bound | None, name: str, span: int) -> tuple[Bound, Bound]:
    """Both bounds: the range usual for such a name as far as it is allowed."""
    snake = name.lower()
    usual_low: Bound
    usual_high: Bound
    usual_low, usual_high = next(
        ((first, last) for part, first, last in _USUAL if part in snake), (_USUAL_LOW, max(_USUAL_HIGH, span))
    )
    if low is None:
        return (usual_low, usual_high) if high is None else (min(usual_low, high - span), min(usual_high, high))
    if high is None:
        return max(low, usual_low), max(low + span, usual_high)
    inner_low, inner_high = max(low, usual_low), min(high, usual_high)
    return (inner_low, inner_high) if inner_low < inner_high else (low, high)


def _common_step(facts: Facts) -> int:
    """The least integer that is a multiple of every step."""
    step = 1
    for value in facts.steps:
        fraction = Fraction(str(value))
        step = math.lcm(step, fraction.numerator)
    return min(step, _LARGEST)


def _multiple(facts: Facts, low: Fraction | None, high: Fraction | None, draws: Draws) -> str:
    steps = [Fraction(str(value)) for value in facts.steps]
    step = steps[0]
    for other in steps[1:]:
        step = Fraction(math.lcm(step.numerator, other.numerator), math.gcd(step.denominator, other.denominator))
    first = math.ceil(low / step) if low is not None else (math.floor(high / step) - 100 if high is not None else 0)
    last = math.floor(high / step) if high is not None else first + 100
    value: Fraction = step * first
    for _ in range(_TRIES):
        value = step * draws.between(first, max(first, last))
        # Many checkers divide floating-point numbers.
        if all((float(value) / each).is_integer() for each in facts.steps):
            break
    return _plain(value)


def _plain(value: float | Fraction) -> str:
    if value == int(value) and -_LARGEST < value < _LARGEST:
        return str(int(value))
    return repr(float(value))
