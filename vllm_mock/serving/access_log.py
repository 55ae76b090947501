"""gunicorn's logger without the lines that probes and scrapes would fill the log with."""

from gunicorn.glogging import Logger as GunicornLogger

from vllm_mock.serving.arguments import process_settings

QUIET_PATHS = frozenset(("/health", "/ready", "/ping", "/metrics"))


class Logger(GunicornLogger):
    """Writes an access line per request, except for probes and scrapes."""

    def access(self, resp, req, environ, request_time) -> None:
        path = environ.get("PATH_INFO")
        if path not in QUIET_PATHS and path not in process_settings().disable_access_log_for_endpoints:
            super().access(resp, req, environ, request_time)
