"""A lock between processes which ends with the process that holds it."""

import errno
import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager

_PAUSE_SECONDS = 0.0005


@contextmanager
def file_lock(file: int) -> Iterator[None]:
    """Hold the record lock of a file; it does not tell the threads of a process apart.

    The kernel takes all threads of a process for one: when one holds a lock and another waits for a second one, which
    a process holds that waits for the first, it sees a deadlock where there is none.
    """
    while True:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX)
            break
        except OSError as error:
            if error.errno != errno.EDEADLK:
                raise
            time.sleep(_PAUSE_SECONDS)
    try:
        yield
    finally:
        fcntl.lockf(file, fcntl.LOCK_UN)
