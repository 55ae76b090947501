"""How long work lets the other requests of its worker have their turn."""

import time

# At most this long nobody else is served...
TURN_SECONDS = 0.005
# ...and then others are, for this long at least. Under gevent a sleep of 0 would only let those go on that are ready,
# but not look for what has come in since.
PAUSE_SECONDS = 0.0002

_last_pause = 0.0


def give_way() -> None:
    """Call often in long work: pauses when it is time to."""
    global _last_pause
    if time.monotonic() - _last_pause >= TURN_SECONDS:
        time.sleep(PAUSE_SECONDS)
        _last_pause = time.monotonic()
