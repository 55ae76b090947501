"""Waiting for what another process or thread does."""

import time
from collections.abc import Callable

WAIT_SECONDS = 60.0


def eventually(check: Callable[[], object], seconds: float = WAIT_SECONDS, what: object = None) -> None:
    """Returns as soon as the check gives something true; fails when it does not in time, and shows `what`."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
