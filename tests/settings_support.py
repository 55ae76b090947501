"""What the tests of the settings share."""

from pathlib import Path

from vllm_mock import settings

NO_FILE = Path("no such config.json")


def load(*argv, environ=None, config_json=NO_FILE):
    """The settings of a command line, with an empty environment and no config.json unless given."""
    return settings.load(argv, environ or {}, config_json)


def error_line(*argv, environ=None, config_json=NO_FILE):
    """The one line with which these settings are refused."""
    try:
        load(*argv, environ=environ, config_json=config_json)
    except settings.SettingsError as error:
        line = str(error)
        assert "\n" not in line
        return line
    raise AssertionError(f"accepted: {argv} {environ}")
