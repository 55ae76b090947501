"""Flag: one row of the table of settings."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from .errors import Refused, SettingsError
from .kinds import SWITCH, Kind

_LONGEST_SHOWN_VALUE = 80


class Environment(NamedTuple):
    """An environment variable that sets a flag; `kind` is its notation where it is not the flag's."""

    name: str
    kind: Kind | None = None


class Flag(NamedTuple):
    """One setting: its names, its notation and what it means.

    dest: the attribute of Settings.
    names: on the command line and in YAML, the canonical one first; none for the environment alone.
    negations: names that set a switch to False.
    environment: variables; the first that is not empty counts.
    default_text: the documented default where it is not plainly `default`.
    secret: the value stays out of the repr.
    acts: False for a flag of vLLM without effect here.
    """

    dest: str
    kind: Kind
    help: str = ""
    names: tuple[str, ...] = ()
    negations: tuple[str, ...] = ()
    environment: tuple[Environment, ...] = ()
    default: Any = None
    default_text: str = ""
    secret: bool = False
    acts: bool = True

    @property
    def name(self) -> str:
        """The canonical name."""
        return self.names[0]

    def read(self, words: Sequence[str], source: str) -> Any:
        """The typed value of `words`; a SettingsError begins with `source` (what was given, and where)."""
        return read(self.kind, words, source)


def read(kind: Kind, words: Sequence[str], source: str) -> Any:
    """The value of `words` as `kind`; raises SettingsError, one line that begins with `source`."""
    try:
        return kind.convert(words)
    except ValueError as error:
        reason = f" ({error})" if isinstance(error, Refused) else ""
        raise SettingsError(
            f"{source}: {shown(' '.join(words))} is not possible{reason}; expected {kind.expected}"
        ) from None


def shown(value: str) -> str:
    """`value` quoted on one line, shortened if it is long."""
    if len(value) > _LONGEST_SHOWN_VALUE:
        value = value[:_LONGEST_SHOWN_VALUE] + "..."
    return repr(value)


def setting(
    default: Any,
    kind: Kind,
    help: str,
    *,
    name: str = "",
    also: tuple[str, ...] = (),
    environment: tuple[Environment, ...] = (),
    default_text: str = "",
    secret: bool = False,
) -> Any:
    """A row of the table, to be assigned to an attribute of a topic.

    name: the canonical name where it is not the attribute's with dashes. also: further names.
    """
    return Flag("", kind, help, (name, *also), (), environment, default, default_text, secret)


def from_environment(default: Any, kind: Kind, help: str, *variables: str, default_text: str = "") -> Any:
    """A row that only environment variables set; the first one that is not empty counts."""
    environment = tuple(Environment(variable) for variable in variables)
    return Flag("", kind, help, (), (), environment, default, default_text)


def rows(topic: type) -> list[Flag]:
    """The rows of a topic, completed by what their attributes' names say."""
    return [_completed(flag, dest) for dest, flag in vars(topic).items() if isinstance(flag, Flag)]


def _completed(flag: Flag, dest: str) -> Flag:
    names = tuple(name or "--" + dest.replace("_", "-") for name in flag.names)
    return flag._replace(dest=dest, names=names, negations=negations(flag.kind, names))


def negations(kind: Kind, names: Sequence[str]) -> tuple[str, ...]:
    """The names that set a switch to False; none for other kinds."""
    if kind is not SWITCH:
        return ()
    return tuple(negation for name in names if name.startswith("--") for negation in _negations(name))


def _negations(name: str) -> tuple[str, str] | tuple[str]:
    """--enable-x has --disable-x and the older --no-enable-x, --x has --no-x."""
    bare = name.removeprefix("--")
    if bare.startswith("enable-"):
        return f"--disable-{bare.removeprefix('enable-')}", f"--no-{bare}"
    if bare.startswith("disable-"):
        return f"--enable-{bare.removeprefix('disable-')}", f"--no-{bare}"
    return (f"--no-{bare}",)
