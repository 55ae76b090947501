"""Every flag by its name, and what to say about a name that does not exist."""

from functools import lru_cache

from .errors import SettingsError
from .flag import Flag
from .inert import inert_flags
from .kinds import LATCH, PATH
from .settings import acting_flags

HELP = Flag("help", LATCH, "Show this page.", names=("--help", "-h"))
CONFIG = Flag("config", PATH, "YAML file with the same names; the command line and the environment win.", ("--config",))

# What took the place of flags that older releases of vLLM had: for these the meaning is nearer than the letters.
_SUCCESSORS = {
    "--task": "--runner",
    "--guided-decoding-backend": "--structured-outputs-config",
    "--enable-reasoning": "--reasoning-parser",
    "--max-seq-len-to-capture": "--max-cudagraph-capture-size",
    "--swap-space": "--kv-offloading-size",
}


@lru_cache(maxsize=1)
def names() -> dict[str, tuple[Flag, bool]]:
    """Each name of each flag, with the value it gives to a switch."""
    index = {}
    every = [HELP, CONFIG, *acting_flags(), *inert_flags()]
    for flag in every:
        index.update(dict.fromkeys(flag.names, (flag, True)))
        index.update(dict.fromkeys(flag.negations, (flag, False)))
    return index


def find(name: str) -> tuple[Flag, bool] | None:
    """The flag of `name` or of an unambiguous beginning of a long name, which vLLM takes as well.

    Raises SettingsError for an ambiguous beginning.
    """
    index = names()
    if name in index:
        return index[name]
    if not name.startswith("--") or len(name) < 3:
        return None
    matches = [known for known in index if known.startswith(name)]
    if len({(id(index[known][0]), index[known][1]) for known in matches}) > 1:
        raise SettingsError(f"flag {name} is ambiguous, it could be {', '.join(sorted(matches)[:5])}")
    return index[matches[0]] if matches else None


def nearest(name: str, known: list[str]) -> str:
    """The known name that looks most like `name`."""
    import difflib  # only needed for a mistake

    return difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]


def nearest_flag(name: str) -> str:
    """The flag that succeeded `name`, or whose name looks most like it, the dashes in front not counted."""
    if name in _SUCCESSORS:
        return _SUCCESSORS[name]
    bare = [known.removeprefix("--") for known in names() if known.startswith("--")]
    return "--" + nearest(name.lstrip("-"), bare)
