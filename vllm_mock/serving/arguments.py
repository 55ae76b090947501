"""Where a process finds its settings: its own command line, or VLLM_MOCK_ARGS under `gunicorn wsgi:app`."""

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from vllm_mock.settings import Settings, SettingsError, load

ARGUMENTS_VARIABLE = "VLLM_MOCK_ARGS"
# The master tells each worker its data-parallel rank, and how many ranks there are.
RANK_VARIABLE = "VLLM_MOCK_DP_RANK"
WORKERS_VARIABLE = "VLLM_MOCK_DP_SIZE"

_T = TypeVar("_T")

BAD_SETTING = 2


def or_exit(function: Callable[..., _T], *arguments: Any) -> _T:
    """What the function returns, or, for a SettingsError, exit code 2 with one line on standard error."""
    try:
        return function(*arguments)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(BAD_SETTING) from None


def settings_or_exit(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """The settings, or exit code 2 with one line on standard error that names what is wrong."""
    return or_exit(load, argv, environ)


@lru_cache(maxsize=1)
def process_settings() -> Settings:
    """The settings of this process, read once from the environment variable VLLM_MOCK_ARGS."""
    try:
        argv = shlex.split(os.environ.get(ARGUMENTS_VARIABLE, ""))
    except ValueError as error:
        print(f"error: environment variable {ARGUMENTS_VARIABLE}: {error}", file=sys.stderr)
        raise SystemExit(BAD_SETTING) from None
    return settings_or_exit(argv, os.environ)
