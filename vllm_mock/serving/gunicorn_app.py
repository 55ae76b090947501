"""gunicorn, run inside this process with the same gunicorn.conf.py that `gunicorn wsgi:app` reads."""

from pathlib import Path

from gunicorn.app.base import Application
from gunicorn.errors import HaltServer


class _InProcess(Application):
    def __init__(self, config_file: Path) -> None:
        self._config_file = config_file
        super().__init__()

    def load_config(self) -> None:
        self.load_config_from_file(str(self._config_file))
        parser = self.cfg.parser()
        extra = parser.parse_args(self.cfg.get_cmd_args_from_env())
        for key, value in vars(extra).items():
            if value is not None and key != "args":
                self.cfg.set(key.lower(), value)

    def load(self):
        from wsgi import app

        return app


def run(config_file: Path) -> None:
    """Serve until a signal ends the process. GUNICORN_CMD_ARGS is honoured, as by gunicorn's own command."""
    try:
        _InProcess(config_file).run()
    except HaltServer as halt:
        # gunicorn is not prepared for a second worker that fails while it stops because of a first.
        raise SystemExit(halt.exit_status) from None
