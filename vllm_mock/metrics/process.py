"""The families with which Prometheus' client for Python tells of its process.

Written here: that package takes 1.7 MB, for an HTTP server and the like.
"""

import functools
import gc
import os
import platform
from pathlib import Path

from vllm_mock.metrics.page import Page, head, label_text, number

_PROC = Path("/proc")
# The fields of /proc/self/stat behind the name, counted from the state.
_USER_TICKS, _SYSTEM_TICKS, _START_TICKS, _VIRTUAL_BYTES, _RESIDENT_PAGES = 11, 12, 19, 20, 21
_FILES_LIMIT = "Max open files"

_GC_FAMILIES = (
    ("collected", "python_gc_objects_collected_total", "Objects collected during gc"),
    ("uncollectable", "python_gc_objects_uncollectable_total", "Uncollectable objects found during GC"),
    ("collections", "python_gc_collections_total", "Number of times this generation was collected"),
)


def process_page() -> Page:
    """The present state of the collector, of Python and of the process; of the latter nothing without Linux's /proc."""
    return _collector() | _python() | _memory_and_time() | _files()


def _collector() -> Page:
    generations = [(label_text({"generation": str(index)}), counts) for index, counts in enumerate(gc.get_stats())]
    return {
        name: [
            *head(name, "counter", text),
            *(f"{name}{labels} {number(counts[key])}" for labels, counts in generations),
        ]
        for key, name, text in _GC_FAMILIES
    }


@functools.cache
def _python() -> Page:
    labels = {"version": platform.python_version(), "implementation": platform.python_implementation()}
    labels |= zip(("major", "minor", "patchlevel"), platform.python_version_tuple(), strict=True)
    return {
        "python_info": [
            *head("python_info", "gauge", "Python platform information"),
            f"python_info{label_text(labels)} 1.0",
        ]
    }


def _memory_and_time() -> Page:
    try:
        fields = (_PROC / "self/stat").read_text().rpartition(")")[2].split()
        booted = _boot_time()
    except OSError:
        return {}
    second = os.sysconf("SC_CLK_TCK")
    cpu_seconds = (int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])) / second
    resident = int(fields[_RESIDENT_PAGES]) * os.sysconf("SC_PAGE_SIZE")
    return {
        **_one("process_virtual_memory_bytes", "Virtual memory size in bytes.", int(fields[_VIRTUAL_BYTES])),
        **_one("process_resident_memory_bytes", "Resident memory size in bytes.", resident),
        **_one(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            int(fields[_START_TICKS]) / second + booted,
        ),
        **_one("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", cpu_seconds, "counter"),
    }


@functools.cache
def _boot_time() -> float:
    """Seconds since the epoch; raises OSError where there is no /proc."""
    lines = (_PROC / "stat").read_text().splitlines()
    return float(next(line for line in lines if line.startswith("btime ")).split()[1])


def _files() -> Page:
    try:
        descriptors = len(os.listdir(_PROC / "self/fd"))
        limits = (_PROC / "self/limits").read_text().splitlines()
    except OSError:
        return {}
    most = next(line for line in limits if line.startswith(_FILES_LIMIT)).removeprefix(_FILES_LIMIT).split()[0]
    return {
        **_one("process_open_fds", "Number of open file descriptors.", descriptors),
        **_one("process_max_fds", "Maximum number of open file descriptors.", float(most.replace("unlimited", "inf"))),
    }


def _one(name: str, text: str, value: float, kind: str = "gauge") -> Page:
    return {name: [*head(name, kind, text), f"{name} {number(value)}"]}
