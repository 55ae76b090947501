"""The YAML file of --config: the names of the command line, with or without dashes in front."""

import json
from pathlib import Path
from typing import Any

from . import catalogue
from .command_line import Given
from .errors import SettingsError
from .flag import Flag, shown


def read_yaml(path: str) -> list[Given]:
    """The flags of the file, as if given on a command line. SettingsError names the file and the key."""
    content = _load(path)
    if content is None:
        return []
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: expected keys with values, as in `port: 8000`")
    given = (_given(path, str(key), value) for key, value in content.items())
    return [item for item in given if item is not None]


def _load(path: str) -> Any:
    import yaml  # takes 15 ms, which only a start with a file needs to spend

    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"--config {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None


def _given(path: str, key: str, value: Any) -> Given | None:
    name = "--" + key.removeprefix("--").replace("_", "-")
    match = catalogue.find(name)
    if match is None or match[0] in (catalogue.CONFIG, catalogue.HELP):
        nearest = catalogue.nearest_flag(name).removeprefix("--")
        raise SettingsError(f"{path}: unknown key {key!r}; the nearest known one is {nearest}")
    if value is None:
        return None
    flag, on = match
    source = f"{path}: key {key!r}"
    words = _words(flag, value, source)
    if not on:
        words = ["false" if flag.read(words, source) else "true"]
    return Given(flag, words, source)


def _words(flag: Flag, value: Any, source: str) -> list[str]:
    """`value` in the notation of the command line, so that both are read by the same rules."""
    if flag.kind.is_json:
        return [value if isinstance(value, str) else json.dumps(value, default=str)]
    if isinstance(value, list) and flag.kind.takes == "many":
        return [_word(item) for item in value]
    if isinstance(value, (list, dict)) and flag.kind.takes != "many":
        raise SettingsError(
            f"{source}: {shown(json.dumps(value, default=str))} is not possible; "
            f"expected {flag.kind.expected}"
        )
    return [_word(value)]


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, default=str) if isinstance(value, (list, dict)) else str(value)
