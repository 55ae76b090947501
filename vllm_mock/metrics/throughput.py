"""Tokens per second over the last 10 seconds, of tokens that are counted late and in bulk."""

import math

WINDOW_SECONDS = 10.0
_PER_SECOND = 2
_SLOTS = int(WINDOW_SECONDS * _PER_SECOND) + 1


class Throughput:
    """Counts tokens in slots of half a second by when they were due, in monotonic seconds.

    Tokens of a running request are counted at a scrape or at its end, so the time of counting says nothing.
    `since` is when the server started.
    """

    __slots__ = ("_numbers", "_tokens", "since")

    def __init__(self) -> None:
        self.since = 0.0
        self._numbers = [-1] * _SLOTS
        self._tokens = [0] * _SLOTS

    def add(self, tokens: int, due: float) -> None:
        """Tokens that were due together."""
        self._add(tokens, int(due * _PER_SECOND))

    def add_evenly(self, tokens: int, first: float, interval: float) -> None:
        """`tokens` tokens, the first due at `first`, each further one `interval` seconds later."""
        first_slot = int(first * _PER_SECOND)
        last_slot = int((first + (tokens - 1) * interval) * _PER_SECOND)
        # Slots before the window would only be thrown away.
        slot = max(first_slot, last_slot - _SLOTS + 1)
        counted = 0 if slot == first_slot else _due_before(slot, first, interval)
        while slot < last_slot:
            slot += 1
            until = _due_before(slot, first, interval)
            self._add(until - counted, slot - 1)
            counted = until
        self._add(tokens - counted, last_slot)

    def _add(self, tokens: int, number: int) -> None:
        place = number % _SLOTS
        known = self._numbers[place]
        if known == number:
            self._tokens[place] += tokens
        elif known < number:
            self._numbers[place] = number
            self._tokens[place] = tokens

    def per_second(self, now: float) -> float:
        """The average over the window, or since the start as long as that is shorter (but over a second)."""
        newest = int(now * _PER_SECOND)
        total = 0.0
        for number, tokens in zip(self._numbers, self._tokens, strict=True):
            if newest - _SLOTS + 1 < number <= newest:
                total += tokens
            elif number == newest - _SLOTS + 1:
                total += tokens * (1.0 - (now * _PER_SECOND - newest))
        return total / max(1.0, min(WINDOW_SECONDS, now - self.since))


def _due_before(slot: int, first: float, interval: float) -> int:
    """How many tokens of an even series are due before a slot that begins after its first one."""
    return math.ceil((slot / _PER_SECOND - first) / interval)
