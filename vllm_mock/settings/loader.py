"""load: the settings of a process from its command line, environment, YAML file and config.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .command_line import Given, parse
from .config_json import CONFIG_JSON, hugging_face_token
from .environment import read_environment, unknown_mock_variables
from .errors import SettingsError
from .resolve import resolve
from .settings import Settings
from .yaml_file import read_yaml


def load(argv: Sequence[str], environ: Mapping[str, str], config_json: Path = CONFIG_JSON) -> Settings:
    """The settings: command line > environment > YAML file of --config > default.

    argv: the arguments without the program's name. Raises SettingsError, whose text is one line, for anything
    that cannot be; SystemExit(0) for --help, after printing the help page.
    """
    command_line = parse(argv)
    if command_line.help:
        from .help import print_help  # only needed here

        print_help()
        raise SystemExit(0)
    ignored: dict[str, None] = {}
    values = _values(read_yaml(command_line.config) if command_line.config else [], ignored)
    values |= read_environment(environ)
    values |= _values(command_line.given, ignored)
    if command_line.model is not None:
        values["model"] = command_line.model
    if not values.get("model", True):
        raise SettingsError("--model '' is not possible; expected the name of a model")
    if values.get("hf_token") is None and (token := hugging_face_token(config_json)) is not None:
        values["hf_token"] = token
    return _complete(values, list(ignored), unknown_mock_variables(environ))


def _values(given: list[Given], ignored: dict[str, None]) -> dict[str, Any]:
    """Attributes and their values; the names of flags without effect go to `ignored`, in their order."""
    values = {}
    for item in given:
        value = item.flag.read(item.words, item.source)
        if item.flag.acts:
            values[item.flag.dest] = value
        else:
            ignored[item.flag.name] = None
    return values


def _complete(given: dict[str, Any], ignored: list[str], warnings: list[str]) -> Settings:
    values = {**vars(Settings()), **given}
    resolve(values, given.keys())
    values |= {"given": frozenset(given), "ignored_flags": ignored, "warnings": warnings}
    return Settings(**values)
