"""`python app.py`: read the settings, then serve with gunicorn, or with Werkzeug where gunicorn cannot run."""

import errno
import gc
import os
import shlex
import socket
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from vllm_mock.serving.arguments import ARGUMENTS_VARIABLE, or_exit, settings_or_exit
from vllm_mock.settings import Settings, SettingsError

PROJECT_ROOT = Path(__file__).resolve().parents[2]


def main(argv: Sequence[str]) -> int:
    """Serve until a signal ends the process; the exit code is 0 after a clean shutdown, 2 for a bad setting."""
    # Start-up makes no garbage worth looking for; the worker enables the collector when it is ready.
    gc.disable()
    settings = settings_or_exit(argv, os.environ)
    if settings.prepare_simulation or settings.time_limit is not None:
        from vllm_mock.serving.preparation import fill_caches  # only for this

        or_exit(fill_caches, settings)
        return 0
    or_exit(_check_address, settings)
    # The workers and gunicorn.conf.py read the flags from the environment, as under `gunicorn wsgi:app`.
    os.environ[ARGUMENTS_VARIABLE] = shlex.join(argv)
    sys.path.insert(0, str(PROJECT_ROOT))
    try:
        from vllm_mock.serving.gunicorn_app import run
    except ImportError as error:
        or_exit(_check_packages)
        print(f"warning: gunicorn cannot run here ({error}); using Werkzeug's threaded server", file=sys.stderr)
        from vllm_mock.serving.werkzeug_app import run as run_werkzeug

        run_werkzeug()
        return 0
    run(PROJECT_ROOT / "gunicorn.conf.py")
    return 0


def _check_packages() -> None:
    if find_spec("flask") is None:
        raise SettingsError("flask is not installed: pip install -r requirements.txt, or make serve")


def _check_address(settings: Settings) -> None:
    """Raise SettingsError for an address that cannot be listened on; gunicorn would try for five seconds first."""
    if settings.uds:
        _check_path(Path(settings.uds))
    else:
        _check_port(settings.host or "0.0.0.0", settings.port)


def _check_path(path: Path) -> None:
    if path.exists() and not path.is_socket():
        raise SettingsError(f"--uds {path}: it exists and is no socket")
    if not os.access(path.parent, os.W_OK):
        raise SettingsError(f"--uds {path}: cannot create a socket in {path.parent}")


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            named = f"--port {port}" if error.errno in (errno.EADDRINUSE, errno.EACCES) else f"--host {host}"
            raise SettingsError(f"{named}: cannot listen on {host}:{port}: {error.strerror or error}") from None
