"""The Flask application: habits of Flask that vLLM does not share are off, blueprints are on."""

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flask import Flask, Request
from werkzeug.routing import BaseConverter, MapAdapter, Rule

from vllm_mock.lifecycle import Lifecycle
from vllm_mock.routes import http
from vllm_mock.routes.health import health_blueprint
from vllm_mock.routes.openai.blueprint import openai_blueprint
from vllm_mock.routes.vllm.blueprint import vllm_blueprint
from vllm_mock.services import Services, build_services
from vllm_mock.settings import Settings
from vllm_mock.tokenizer import TokenizerError

WARM_UP_DELAY_SECONDS = 0.02


class ExactRule(Rule):
    """A URL rule that answers the methods it names and no others: no HEAD beside GET."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        methods = {method.upper() for method in kwargs.get("methods") or ("GET",)}
        super().__init__(*args, **kwargs)
        self.methods = methods


class AnythingConverter(BaseConverter):
    """The rest of a path, slashes included, or nothing."""

    regex = ".*"
    part_isolating = False


class InFlightBody:
    """A response body that ends its request's life when the server closes it."""

    __slots__ = ("_body", "_lifecycle")

    def __init__(self, body: Iterable[bytes], lifecycle: Lifecycle) -> None:
        self._body = body
        self._lifecycle = lifecycle

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._lifecycle.end()


class MockApp(Flask):
    """The WSGI application of one worker."""

    url_rule_class = ExactRule
    services: Services
    # By which AIBrix's gateway tests see where a request was routed to.
    pod_headers: list[tuple[str, str]]

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Flask's own also looks at host names and subdomains, which costs a tenth of a request."""
        if request is None:
            return None
        environ = request.environ
        return MapAdapter(
            self.url_map,
            server_name="localhost",
            script_name=environ.get("SCRIPT_NAME") or "/",
            subdomain="",
            url_scheme=environ["wsgi.url_scheme"],
            path_info=environ["PATH_INFO"],
            default_method=environ["REQUEST_METHOD"],
            query_args=environ.get("QUERY_STRING", ""),
        )

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """No view is a coroutine; Flask's own looks at each of them, and at each hook, anew."""
        return func

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        lifecycle = self.services.lifecycle
        pod_headers = self.pod_headers

        def start_with_pod(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            return start_response(status, headers + pod_headers, exc_info)

        lifecycle.begin()
        try:
            body = self.wsgi_app(self._real_path(environ), start_with_pod)
        except BaseException:
            lifecycle.end()
            raise
        return InFlightBody(body, lifecycle)

    def _real_path(self, environ: dict[str, Any]) -> dict[str, Any]:
        """--root-path /p serves /p/v1/models as well as /v1/models; a path that begins with // is no path of ours."""
        root = self.services.settings.root_path
        path = environ["PATH_INFO"]
        if path.startswith("//"):
            # Werkzeug would drop the extra slashes; a NUL matches no route.
            environ["PATH_INFO"] = f"/\0{path}"
        elif root and (path == root or path.startswith(root + "/")):
            environ["SCRIPT_NAME"] = root
            environ["PATH_INFO"] = path[len(root) :] or "/"
        return environ


def build(settings: Settings) -> MockApp:
    """Compose services, routes and hooks; raises SettingsError when the tokenizer cannot be loaded."""
    services = build_services(settings)
    app = MockApp("vllm_mock", static_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    app.url_map.converters["anything"] = AnythingConverter
    app.services = services
    app.pod_headers = [
        ("x-inference-pod", settings.pod_name),
        ("x-inference-namespace", settings.pod_namespace),
    ]
    app.register_blueprint(health_blueprint(services))
    app.register_blueprint(openai_blueprint(services))
    app.register_blueprint(vllm_blueprint(services))
    http.install(app, services)
    services.peers.listen()
    threading.Thread(target=_warm_up, args=(services,), name="warm-up", daemon=True).start()
    return app


def _warm_up(services: Services) -> None:
    """Do what the first request would otherwise wait for, then declare the worker ready."""
    from vllm_mock.protocol import warm_up as warm_up_protocol

    # Under gevent this shares the thread of all requests: let a waiting health probe go first.
    time.sleep(WARM_UP_DELAY_SECONDS)
    warm_up_protocol()
    services.generator.warm_up()
    # Jinja is imported by the first rendering; a template that cannot take this message says so to those who use it.
    with contextlib.suppress(TokenizerError):
        services.tokenizer.apply_chat_template([{"role": "user", "content": ""}])
    # What is there now stays: the collector need not go through it again and again.
    gc.collect()
    gc.freeze()
    # A request leaves no cycles behind; Python's default would look for some every few requests.
    gc.set_threshold(20_000, 20, 20)
    services.lifecycle.ready = True
