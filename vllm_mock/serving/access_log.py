"""gunicorn's logger without the lines that probes and scrapes would fill the log with."""

from gunicorn.glogging import Logger as GunicornLogger

QUIET_PATHS = frozenset(("/health", "/ready", "/ping", "/metrics"))


class Logger(GunicornLogger):
    """Writes an access line per request, except for probes and scrapes."""

    def access(self, resp, req, environ, request_time) -> None:
        if environ.get("PATH_INFO") not in QUIET_PATHS:
            super().access(resp, req, environ, request_time)
