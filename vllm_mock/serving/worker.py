"""Building the application inside a gunicorn worker."""

import sys

from vllm_mock import create_app
from vllm_mock.application import MockApp
from vllm_mock.serving.arguments import APP_LOAD_ERROR, process_settings
from vllm_mock.settings import SettingsError


def worker_app() -> MockApp:
    """The application, or one line on standard error and the end of the server when a setting proves wrong."""
    try:
        return create_app(process_settings())
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(APP_LOAD_ERROR) from None
