"""What Linux says about processes: their CPU time, memory and children, and how busy a core is."""

import contextlib
import os
from pathlib import Path

# The nice value of what comes before everything else.
FIRST = -20
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def _stat_fields(pid: int) -> list[str]:
    # The name in parentheses may hold spaces; the numbered fields begin behind it with field 3.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parents[int(entry)] = int(_stat_fields(int(entry))[1])
            except OSError:
                continue
    found = [pid]
    for member in found:
        found += [child for child, parent in parents.items() if parent == member]
    return found


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of these processes, all threads included, in seconds (10 ms resolution)."""
    ticks = 0
    for pid in pids:
        fields = _stat_fields(pid)
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_SECOND


def favour_session() -> None:
    """Let this process' session, which it should lead, come first: nice values hold within a session alone."""
    with contextlib.suppress(FileNotFoundError):
        Path("/proc/self/autogroup").write_text(str(FIRST))


def pss_megabytes(pids: list[int]) -> float:
    """Proportional set size: private memory, and shared pages divided among those that share them."""
    kilobytes = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                kilobytes += int(line.split()[1])
    return kilobytes / 1024


def core_busy_seconds(core: int) -> float:
    """Seconds since boot that a core was not idle, stolen time included."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
            return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND
    raise LookupError(f"/proc/stat has no core {core}")
