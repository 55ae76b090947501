"""What holds for every request: API key, CORS, request ids, HTTP metrics, and errors that are never HTML."""

import hashlib
import hmac
import time
import uuid
from typing import TYPE_CHECKING

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from vllm_mock.protocol.errors import ApiError
from vllm_mock.routes.cors import Cors
from vllm_mock.routes.replies import METHOD_NOT_ALLOWED, NOT_FOUND, empty_reply, error_reply, json_reply

if TYPE_CHECKING:
    from vllm_mock.services import Services

GUARDED_PREFIXES = ("/v1", "/v2", "/inference", "/cohere")
UNMEASURED_PATHS = frozenset(("/metrics", "/health", "/load", "/ping", "/version", "/server_info"))
STATE_PATHS = frozenset(("/health", "/ready", "/ping", "/metrics"))


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
    cors = Cors(settings)
    observe = services.http_metrics.observe

    @app.before_request
    def admit() -> Response | None:
        g.started = time.perf_counter()
        if request.method == "OPTIONS":
            return cors.preflight(request)
        if keys is not None and _guarded(request.path) and not keys.accept(request.headers.get("Authorization")):
            g.refused = True
            return error_reply(ApiError.unauthorized())
        if services.lifecycle.draining and request.path not in STATE_PATHS:
            return error_reply(ApiError.shutting_down())
        return None

    @app.after_request
    def decorate(response: Response) -> Response:
        if "refused" not in g:
            cors.decorate(request.headers.get("Origin"), response)
            if request.path not in UNMEASURED_PATHS:
                observe(
                    request.url_rule.rule if request.url_rule is not None else "none",
                    request.method,
                    response.status_code,
                    request.content_length or 0,
                    response.content_length or 0,
                    time.perf_counter() - g.started,
                )
        if settings.enable_request_id_headers:
            response.headers["X-Request-Id"] = request.headers.get("X-Request-Id") or uuid.uuid4().hex
        return response

    _install_error_handlers(app)


def _guarded(path: str) -> bool:
    return path.startswith(GUARDED_PREFIXES)


def _install_error_handlers(app: Flask) -> None:
    @app.errorhandler(ApiError)
    def api_error(error: ApiError) -> Response:
        return error_reply(error)

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


def _rules_of(app: Flask, path: str) -> list:
    return [rule for rule in app.url_map.iter_rules() if rule.rule == path]


def _allowed_methods(app: Flask, path: str) -> str:
    """vLLM names the methods of the first route with that path only (GET for /ping, though POST works)."""
    rules = _rules_of(app, path) or [rule for rule in app.url_map.iter_rules() if rule.arguments]
    return ", ".join(sorted(rules[0].methods))


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
    response.headers["Location"] = f"{request.scheme}://{request.host}{request.script_root}{other}{query}"
    return response
