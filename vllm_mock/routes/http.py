"""What holds for every request: API key, CORS, request ids, HTTP metrics, and errors that are never HTML."""

import hashlib
import hmac
import time
import uuid
from typing import TYPE_CHECKING
from urllib.parse import quote

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import Rule

from vllm_mock.faults.injected import HEADER as RETURN_ERROR
from vllm_mock.metrics.http import EXCLUDED_HANDLERS
from vllm_mock.protocol.errors import NO_HTTP, ApiError, InvalidHttp
from vllm_mock.routes.cors import Cors
from vllm_mock.routes.current import current_request
from vllm_mock.routes.fault_gate import FAULT, UNANSWERED, FaultGate
from vllm_mock.routes.pd_gate import PDGate
from vllm_mock.routes.replies import (
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    STARTED,
    empty_reply,
    error_reply,
    json_reply,
    text_reply,
)

if TYPE_CHECKING:
    from vllm_mock.services import Services

GUARDED_PREFIXES = ("/v1", "/v2", "/inference", "/cohere")
# What bends the server itself or tells its settings; guarded with --protect-admin. vLLM leaves its own of these open.
ADMIN_PREFIXES = (
    *("/set_metrics", "/mock/", "/debug/", "/server_info", "/collective_rpc", "/abort_requests", "/scale_elastic_ep"),
    *("/sleep", "/wake_up", "/pause", "/resume", "/reset_", "/release_kv_cache_memory", "/start_profile"),
    *("/stop_profile", "/load_lora_adapter", "/unload_lora_adapter", "/adapters", "/init_weight_transfer_engine"),
    *("/shutdown_weight_transfer_engine", "/start_weight_update", "/start_draft_weight_update"),
    *("/finish_weight_update", "/update_weight", "/weight_checker"),
)
SCALING = b'{"error":"The model is currently scaling. Please try again later."}'
# The key of the environ by which one hook tells the other that the key was refused.
REFUSED = "vllm_mock.refused"
# What a redirect does not escape in a path; Starlette's choice.
UNESCAPED = "/:%#?=@[]!$&'()*+,;"
STATE_PATHS = frozenset(("/health", "/ready", "/ping", "/metrics"))
SCALING_PATHS = frozenset(("/health", "/is_scaling_elastic_ep", "/debug/elastic_ep"))


class ApiKeys:
    """The configured keys, compared in constant time by their hashes."""

    def __init__(self, keys: list[str]) -> None:
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    def accept(self, authorization: str | None) -> bool:
        """True for `Bearer KEY` with a configured key; the scheme's case does not matter."""
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        # Every key is compared, so that the time tells nothing about which one was near.
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return True in matches


def install(app: Flask, services: "Services") -> None:
    """Register the hooks and error handlers on the application."""
    settings = services.settings
    keys = ApiKeys(settings.api_key) if settings.api_key else None
    guarded = GUARDED_PREFIXES + (ADMIN_PREFIXES if settings.protect_admin else ())
    cors = Cors(settings)
    observe = services.http_metrics.observe

    with_request_ids = settings.enable_request_id_headers
    lifecycle = services.lifecycle
    elastic = services.elastic_ep
    faults = services.faults
    gate = FaultGate(services)
    halves = PDGate(services)

    # The hooks read the WSGI environ: each look through Flask's request proxy costs a microsecond.
    @app.before_request
    def admit() -> Response | None:
        served = current_request()
        environ = served.environ
        environ[STARTED] = time.monotonic()
        if environ["REQUEST_METHOD"] == "OPTIONS":
            return cors.preflight(served)
        path = environ["PATH_INFO"]
        if halves.active:
            halves.arrive(environ)
        if keys is not None and path.startswith(guarded) and not keys.accept(environ.get("HTTP_AUTHORIZATION")):
            environ[REFUSED] = True
            return error_reply(ApiError.unauthorized())
        if (lifecycle.draining or lifecycle.loading) and path not in STATE_PATHS:
            return error_reply(ApiError.shutting_down() if lifecycle.draining else ApiError.loading())
        if elastic.scaling and path not in SCALING_PATHS:
            return json_reply(SCALING, 503)
        if halves.active and (failed := halves.admit(environ)) is not None:
            return failed
        if faults.active or gate.always or RETURN_ERROR in environ:
            return gate.admit(served)
        return None

    @app.after_request
    def decorate(response: Response) -> Response:
        served = current_request()
        environ = served.environ
        if FAULT in environ:
            response = gate.decorate(environ, response)
        if halves.active:
            halves.leave(environ, response)
        if REFUSED not in environ and UNANSWERED not in environ:
            cors.decorate(environ.get("HTTP_ORIGIN"), response)
            rule = served.url_rule
            # Of a path without variables its route says the same, and that is looked at once.
            if (rule is not None and not rule.arguments) or EXCLUDED_HANDLERS.search(environ["PATH_INFO"]) is None:
                observe(
                    rule.rule if rule is not None else "none",
                    environ["REQUEST_METHOD"],
                    response.status_code,
                    int(environ.get("CONTENT_LENGTH") or 0),
                    response.content_length or 0,
                    time.monotonic() - environ[STARTED],
                )
        if with_request_ids:
            response.headers["X-Request-Id"] = environ.get("HTTP_X_REQUEST_ID") or uuid.uuid4().hex
        return response

    _install_error_handlers(app)


def _install_error_handlers(app: Flask) -> None:
    @app.errorhandler(ApiError)
    def api_error(error: ApiError) -> Response:
        return error_reply(error)

    @app.errorhandler(InvalidHttp)
    def invalid_http(error: InvalidHttp) -> Response:
        return text_reply(NO_HTTP, "text/plain; charset=utf-8", 400)

    @app.errorhandler(NotFound)
    def not_found(error: NotFound) -> Response:
        return _redirect_slash(app) or json_reply(NOT_FOUND, 404)

    @app.errorhandler(MethodNotAllowed)
    def method_not_allowed(error: MethodNotAllowed) -> Response:
        response = json_reply(METHOD_NOT_ALLOWED, 405)
        response.headers["Allow"] = _allowed_methods(app, request.path)
        return response

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        status = error.code or 500
        return error_reply(ApiError(status, error.description or error.name, error.name))

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        app.logger.exception("unexpected error on %s %s", request.method, request.path)
        return error_reply(ApiError.internal())


def _rules_of(app: Flask, path: str) -> list[Rule]:
    """The routes that serve a path, in the order of their registration."""
    adapter = app.create_url_adapter(request)
    assert adapter is not None
    found = {id(adapter.match(path, method, return_rule=True)[0]) for method in adapter.allowed_methods(path)}
    return [rule for rule in app.url_map.iter_rules() if id(rule) in found]


def _allowed_methods(app: Flask, path: str) -> str:
    """vLLM names the methods of the first route with that path only (GET for /ping, though POST works)."""
    return ", ".join(sorted(_rules_of(app, path)[0].methods or ()))


def _redirect_slash(app: Flask) -> Response | None:
    """A path that exists with its trailing slash added or removed is redirected there."""
    path = request.path
    other = path.rstrip("/") if path.endswith("/") else path + "/"
    if path == "/" or not _rules_of(app, other):
        return None
    response = empty_reply(307)
    query = f"?{request.query_string.decode('latin-1')}" if request.query_string else ""
    # Werkzeug would make the path absolute by itself, but also normalise its escapes.
    response.autocorrect_location_header = False
    place = quote(f"{request.script_root}{other}", safe=UNESCAPED)
    response.headers["Location"] = f"{request.scheme}://{request.host}{place}{query}"
    return response
