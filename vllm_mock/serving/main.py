"""`python app.py`: read the settings, then serve with gunicorn, or with Werkzeug where gunicorn cannot run."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from vllm_mock.serving.arguments import (
    APP_LOAD_ERROR,
    ARGUMENTS_VARIABLE,
    BAD_SETTING,
    settings_or_exit,
)

PROJECT_ROOT = Path(__file__).resolve().parents[2]


def main(argv: Sequence[str]) -> int:
    """Serve until a signal ends the process; the exit code is 0 after a clean shutdown, 2 for a bad setting."""
    settings_or_exit(argv, os.environ)
    # The workers and gunicorn.conf.py read the flags from the environment, as under `gunicorn wsgi:app`.
    os.environ[ARGUMENTS_VARIABLE] = shlex.join(argv)
    sys.path.insert(0, str(PROJECT_ROOT))
    try:
        from vllm_mock.serving.gunicorn_app import run
    except ImportError as error:
        print(f"warning: gunicorn cannot run here ({error}); using Werkzeug's threaded server", file=sys.stderr)
        from vllm_mock.serving.werkzeug_app import run as run_werkzeug

        run_werkzeug()
        return 0
    try:
        run(PROJECT_ROOT / "gunicorn.conf.py")
    except SystemExit as end:
        # A setting that only the worker could judge (a tokenizer) is as bad as one that the parser refuses.
        return BAD_SETTING if end.code == APP_LOAD_ERROR else int(end.code or 0)
    return 0
