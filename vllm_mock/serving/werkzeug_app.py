"""The fallback where gunicorn cannot run (no fork): Werkzeug's threaded server, for development only."""

import logging
import os
import signal
import threading
from typing import TYPE_CHECKING

from werkzeug.serving import BaseWSGIServer, make_server

from vllm_mock.serving.arguments import or_exit, process_settings

if TYPE_CHECKING:
    from vllm_mock.services import Services


def run() -> None:
    """Serve with one thread per connection until a signal comes."""
    from vllm_mock import create_app
    from vllm_mock.serving.banner import print_banner
    from vllm_mock.serving.preparation import prepare_simulation

    settings = process_settings()
    or_exit(prepare_simulation, settings)
    app = or_exit(create_app, settings)
    logging.getLogger("werkzeug").setLevel(logging.INFO if settings.enable_access_log else logging.ERROR)
    server = make_server(settings.host or "0.0.0.0", settings.port, app, threaded=True)
    _drain_at_signals(server, app.services)
    print_banner(settings)
    server.serve_forever()


def _drain_at_signals(server: BaseWSGIServer, services: "Services") -> None:
    """The first SIGTERM or SIGINT lets running requests finish, the second ends the process at once."""
    first: list[int] = []

    def drain() -> None:
        services.drain()
        server.shutdown()

    def handle(signum, frame) -> None:
        if first:
            os._exit(0)
        first.append(signum)
        threading.Thread(target=drain, name="drain", daemon=True).start()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
