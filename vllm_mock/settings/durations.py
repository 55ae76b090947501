"""Durations: `750us`, `20ms`, `1.5s`, or a plain number in the flag's own unit. Values are in seconds."""

import math
import re

from .kinds import Kind, single

# Divisors rather than factors: 750 / 1e6 is the float closest to 0.00075, 750 * 1e-6 need not be.
_PER_SECOND = {"ns": 1e9, "us": 1e6, "µs": 1e6, "μs": 1e6, "ms": 1e3, "s": 1.0, "m": 1 / 60, "h": 1 / 3600}
_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def parse_duration(text: str, plain_unit: str) -> float:
    """Seconds of `text`, a plain number being in `plain_unit`. ValueError when negative or not finite."""
    match = _NUMBER.match(text)
    if match is None:
        raise ValueError
    unit = text[match.end() :].strip() or plain_unit
    if unit not in _PER_SECOND:
        raise ValueError
    seconds = float(match[0]) / _PER_SECOND[unit]
    if not math.isfinite(seconds):
        raise ValueError
    return seconds


def _duration(plain_unit: str, plain_unit_name: str, per: int = 1) -> Kind:
    expected = f"a duration of 0 or more, such as 750us, 20ms or 1.5s (a plain number is in {plain_unit_name})"
    unit = f"{plain_unit_name} for {per} tokens" if per > 1 else plain_unit_name
    return single(lambda text: parse_duration(text, plain_unit) / per, expected, "DURATION", unit=unit)


MILLISECONDS = _duration("ms", "milliseconds")
"""A duration whose plain numbers are milliseconds, as llm-d's flags have it."""

SECONDS = _duration("s", "seconds")
"""A duration whose plain numbers are seconds, as AIBrix's environment variables have it."""

SECONDS_PER_1000 = _duration("s", "seconds", per=1000)
"""As SECONDS, given for 1000 tokens; the value is for one."""


def format_duration(seconds: float) -> str:
    """The shortest usual spelling: 0, 20us, 30ms or 1.5s."""
    for unit in ("s", "ms"):
        amount = seconds * _PER_SECOND[unit]
        if seconds == 0 or amount >= 1:
            return f"{amount:g}{unit}" if seconds else "0"
    return f"{seconds * 1e6:g}us"
