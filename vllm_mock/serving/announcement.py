"""What all workers know, one of them says: that the server serves, or why it will not."""

import contextlib
import os
import sys

from vllm_mock.serving.banner import print_banner
from vllm_mock.settings import Settings


class _Once:
    """Something that only the first may do of all the processes that inherit it."""

    def __init__(self) -> None:
        self._token, writer = os.pipe()
        os.write(writer, b"1")
        # Without a writer the end of the file follows: nobody ever waits here.
        os.close(writer)

    def first(self) -> bool:
        """True for one caller of all."""
        return os.read(self._token, 1) != b""


_words: dict[str, _Once] = {}


def prepare() -> None:
    """Before any worker exists: from now on one speaks for all."""
    _words.update(serving=_Once(), refused=_Once())


def serving(settings: Settings) -> None:
    """Print the start-up line, if no worker has; where nobody prepared, no worker does."""
    # Whoever reads the output may have gone.
    with contextlib.suppress(OSError):
        if _words and _words["serving"].first():
            print_banner(settings)


def refused(reason: str) -> bool:
    """Print why this worker cannot start, and return True, if no other one has."""
    if _words and not _words["refused"].first():
        return False
    print(reason, file=sys.stderr, flush=True)
    return True
