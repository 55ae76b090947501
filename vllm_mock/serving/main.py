"""`python app.py`: read the settings, then serve with gunicorn, or with Werkzeug where gunicorn cannot run."""

import gc
import os
import shlex
import socket
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
    # Start-up makes no garbage worth looking for; the worker enables the collector when it is ready.
    gc.disable()
    settings = settings_or_exit(argv, os.environ)
    if not settings.uds and (refusal := _cannot_listen(settings.host or "0.0.0.0", settings.port)):
        print(f"error: --port {settings.port}: {refusal}", file=sys.stderr)
        return BAD_SETTING
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


def _cannot_listen(host: str, port: int) -> str | None:
    """Why the address cannot be listened on, or None; gunicorn would try for five seconds before it says so."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return f"cannot listen on {host}: {error.strerror or error}"
    return None
