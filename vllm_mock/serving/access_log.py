"""gunicorn's logger without the lines that nobody needs to read."""

from typing import Any

from gunicorn.glogging import Logger as GunicornLogger

from vllm_mock.serving.arguments import BAD_SETTING, process_settings

QUIET_PATHS = frozenset(("/health", "/ready", "/ping", "/metrics"))


class Logger(GunicornLogger):
    """Writes an access line per request, except for probes and scrapes; silent about what a worker has told."""

    _refused = False

    def access(self, resp, req, environ, request_time) -> None:
        path = environ.get("PATH_INFO")
        if path not in QUIET_PATHS and path not in process_settings().disable_access_log_for_endpoints:
            super().access(resp, req, environ, request_time)

    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Log a warning; of a broken request what is wrong, but not the broken line, which may hold a key."""
        if isinstance(msg, str) and msg.startswith("Invalid request from "):
            msg = ": ".join(msg.split(": ")[:2])
        super().warning(msg, *args, **kwargs)

    def error(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Log an error; none of those that follow when a worker has refused a setting, in one line of its own."""
        self._refused = self._refused or args[1:] == (BAD_SETTING,)
        if not self._refused:
            super().error(msg, *args, **kwargs)
