"""How many connections a process may hold, as its limit of open files allows."""

import resource

from vllm_mock.settings import SettingsError

MOST_CONNECTIONS = 10_000
# Logs, listening sockets, shared memory, connections to the other workers, modules that are being imported.
RESERVED = 40
LEAST = 64


def connections() -> int:
    """Raises the limit as far as that is allowed; returns how many connections a worker may take.

    Further ones wait in the kernel's queue, instead of failing with "too many open files". Raises SettingsError when
    there would be hardly any.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (ValueError, OSError):
            # Some systems call a limit infinite that they do not grant.
            pass
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    if soft < LEAST:
        raise SettingsError(f"a process may open {soft} files (ulimit -n), at least {LEAST} are needed")
    return min(MOST_CONNECTIONS, soft - RESERVED)
