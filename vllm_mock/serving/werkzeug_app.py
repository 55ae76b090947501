"""The fallback where gunicorn cannot run (no fork): Werkzeug's threaded server, for development only."""

import logging

from werkzeug.serving import make_server

from vllm_mock.serving.arguments import or_exit, process_settings


def run() -> None:
    """Serve with one thread per connection until interrupted."""
    from vllm_mock import create_app
    from vllm_mock.serving.banner import print_banner
    from vllm_mock.serving.preparation import prepare_simulation

    settings = process_settings()
    or_exit(prepare_simulation, settings)
    app = or_exit(create_app, settings)
    logging.getLogger("werkzeug").setLevel(logging.INFO if settings.enable_access_log else logging.ERROR)
    server = make_server(settings.host or "0.0.0.0", settings.port, app, threaded=True)
    print_banner(settings)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.shutdown()
