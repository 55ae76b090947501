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
    flag, on = _find(path, key)
    if value is None:
        return None
    source = f"{path}: key {key!r}"
    items = value if isinstance(value, list) and flag.kind.takes == "many" else [value]
    words = [_word(flag, item, source) for item in items]
    if not on:
        words = ["false" if flag.read(words, source) else "true"]
    return Given(flag, words, source)


def _find(path: str, key: str) -> tuple[Flag, bool]:
    name = "--" + key.removeprefix("--").replace("_", "-")
    try:
        match = catalogue.find(name)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None
    if match is not None and match[0] in (catalogue.CONFIG, catalogue.HELP):
        raise SettingsError(f"{path}: key {key!r} is for the command line alone")
    if match is None:
        nearest = catalogue.nearest_flag(name).removeprefix("--")
        raise SettingsError(f"{path}: unknown key {key!r}; the nearest known one is {nearest}")
    return match


def _word(flag: Flag, item: Any, source: str) -> str:
    """`item` in the notation of the command line, so that both are read by the same rules."""
    if isinstance(item, (dict, list)) and flag.kind.is_json:
        return json.dumps(item, default=str)
    is_switch = flag.kind.takes == "none"
    if isinstance(item, (dict, list)) or (isinstance(item, bool) and not is_switch and not flag.kind.is_json):
        given = shown(json.dumps(item, default=str))
        raise SettingsError(f"{source}: {given} is not possible; expected {flag.kind.expected}")
    return str(item).lower() if isinstance(item, bool) else str(item)
