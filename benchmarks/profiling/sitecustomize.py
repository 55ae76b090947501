"""Samples a worker's stacks from SIGRTMIN on; Python imports it by itself when its folder is on PYTHONPATH.

The profile goes to the folder PROFILE_FOLDER, a file per process: lines `frame;frame;... count`, outermost first.
Only CPU time is sampled (a waiting worker costs nothing), and only Python frames show: time in C, system calls
included, counts for the Python function that called it.
"""

import collections
import os
import signal
from pathlib import Path
from types import FrameType

INTERVAL_SECONDS = 0.002
WRITE_EVERY_SAMPLES = 100

_counts: collections.Counter[tuple[str, ...]] = collections.Counter()


def _name(frame: FrameType) -> str:
    code = frame.f_code
    return f"{code.co_qualname} ({'/'.join(code.co_filename.split('/')[-2:])}:{frame.f_lineno})"


def _sample(_signal: int, frame: FrameType | None) -> None:
    stack = []
    while frame is not None:
        stack.append(_name(frame))
        frame = frame.f_back
    _counts[tuple(reversed(stack))] += 1
    if _counts.total() % WRITE_EVERY_SAMPLES == 0:
        _write()


def _write() -> None:
    path = Path(os.environ["PROFILE_FOLDER"]) / f"{os.getpid()}.stacks"
    path.write_text("".join(f"{';'.join(stack)} {count}\n" for stack, count in _counts.items()))


def _start(_signal: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGPROF, _sample)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL_SECONDS, INTERVAL_SECONDS)


if "PROFILE_FOLDER" in os.environ:
    signal.signal(signal.SIGRTMIN, _start)
