"""The WSGI application of a worker, which answers probes before it is built."""

import os
import threading
import time
import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn

from vllm_mock.serving import announcement
from vllm_mock.serving.arguments import BAD_SETTING
from vllm_mock.settings import Settings, SettingsError

if TYPE_CHECKING:
    from vllm_mock.application import MockApp
    from vllm_mock.services import Services

# gunicorn's code for a worker that cannot start: the master stops instead of starting others for ever.
WORKER_BOOT_ERROR = 3
# Under gevent the building shares the thread of all requests: a waiting probe goes first.
BUILD_DELAY_SECONDS = 0.01

_EMPTY = [("Content-Length", "0"), ("Vary", "Origin")]
_NOT_READY = b'{"status": "not ready"}'
_JSON = [("Content-Type", "application/json"), ("Content-Length", str(len(_NOT_READY))), ("Vary", "Origin")]


class WorkerApp:
    """Builds the Flask application in the background; until then /health says 200, /ready 503, the rest waits.

    So a probe need not wait for the imports of Flask, pydantic and the tokenizer, half of the start-up.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app: MockApp | None = None
        self._built = threading.Event()
        threading.Thread(target=self._build, name="build-application", daemon=True).start()

    @property
    def services(self) -> "Services":
        """The parts of the application; waits for them to be built."""
        self._built.wait()
        assert self._app is not None
        return self._app.services

    @property
    def draining(self) -> bool:
        """SIGTERM came; no more requests are taken."""
        return self._app is not None and self._app.services.lifecycle.draining

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if self._app is None:
            path = environ["PATH_INFO"]
            if path in ("/health", "/ping") and environ["REQUEST_METHOD"] == "GET":
                start_response("503 Service Unavailable" if self._settings.startup_duration else "200 OK", _EMPTY)
                return ()
            if path == "/ready" and environ["REQUEST_METHOD"] == "GET":
                start_response("503 Service Unavailable", _JSON)
                return (_NOT_READY,)
            self._built.wait()
            assert self._app is not None
        return self._app(environ, start_response)

    def _build(self) -> None:
        time.sleep(BUILD_DELAY_SECONDS)
        try:
            from vllm_mock import create_app

            app = create_app(self._settings)
            announcement.serving(self._settings)
            self._app = app
        except SettingsError as error:
            _give_up(f"error: {error}", BAD_SETTING)
        except BaseException:
            _give_up(traceback.format_exc().rstrip(), WORKER_BOOT_ERROR)
        self._built.set()


def _give_up(reason: str, code: int) -> NoReturn:
    """End this worker. Only its exit code tells gunicorn's master to start no other; told twice, the master fails."""
    os._exit(code if announcement.refused(reason) else 0)
