"""How long work lets the other requests of its worker have their turn."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# At most this long nobody else is served...
TURN_SECONDS = 0.005
# ...and then others are, for this long at least. Under gevent a sleep of 0 would only let those go on that are ready,
# but not look for what has come in since.
PAUSE_SECONDS = 0.0002

_last_pause = 0.0
# Set by a worker whose requests share one thread.
_run_apart: Callable[[Callable[[], object]], object] | None = None


def give_way() -> None:
    """Call often in long work: pauses when it is time to."""
    global _last_pause
    if time.monotonic() - _last_pause >= TURN_SECONDS:
        time.sleep(PAUSE_SECONDS)
        _last_pause = time.monotonic()


def apart(compute: Callable[[], T]) -> T:
    """What a C function computes that holds no lock of the interpreter: others are served meanwhile.

    `compute` may not look at anything that other requests change.
    """
    return compute() if _run_apart is None else _run_apart(compute)  # type: ignore[return-value]


def run_apart_by(runner: Callable[[Callable[[], object]], object]) -> None:
    """Let this run what is to be computed apart, in this process."""
    global _run_apart
    _run_apart = runner
