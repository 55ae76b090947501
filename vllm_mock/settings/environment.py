"""Environment variables: which of them set a flag, and those that look as if they should."""

import re
from collections.abc import Mapping
from typing import Any

from .catalogue import nearest
from .flag import Environment, Flag, read
from .settings import acting_flags

_MOCK_PREFIX = "MOCK_"
# Kubernetes puts the address of a Service named mock-... into such variables, which are no settings.
_SERVICE_LINK = r".*(_SERVICE_HOST|_SERVICE_PORT(_\w+)?|_PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"


def read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Attributes and their values; an empty variable counts as unset. SettingsError names a bad variable."""
    values = {}
    for flag in acting_flags():
        variable, text = _first_set(flag, environ)
        if variable is not None:
            source = f"environment variable {variable.name}"
            values[flag.dest] = read(variable.kind or flag.kind, [text], source)
    return values


def _first_set(flag: Flag, environ: Mapping[str, str]) -> tuple[Environment | None, str]:
    for variable in flag.environment:
        text = environ.get(variable.name, "").strip()
        if text:
            return variable, text
    return None, ""


def unknown_mock_variables(environ: Mapping[str, str]) -> list[str]:
    """One line for each variable MOCK_... that is no setting, with the nearest name that is one."""
    known = [variable.name for flag in acting_flags() for variable in flag.environment]
    mock_names = [name for name in known if name.startswith(_MOCK_PREFIX)]
    return [
        f"environment variable {name} is unknown; the nearest known one is {nearest(name, mock_names)}"
        for name in sorted(environ)
        if name.startswith(_MOCK_PREFIX) and name not in mock_names and not re.fullmatch(_SERVICE_LINK, name)
    ]
