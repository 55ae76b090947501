"""Cross-origin headers as the ASGI middleware in front of vLLM sends them."""

from flask import Request, Response

from vllm_mock.routes.replies import text_reply
from vllm_mock.settings import Settings

ALL_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY")
SAFE_HEADERS = ("Accept", "Accept-Language", "Content-Language", "Content-Type")
PREFLIGHT_VARY = (
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network"
)
MAX_AGE_SECONDS = "600"


class Cors:
    """Decides who may read answers from a browser: --allowed-origins, -methods, -headers, -credentials."""

    def __init__(self, settings: Settings) -> None:
        self._any_origin = "*" in settings.allowed_origins
        self._origins = frozenset(settings.allowed_origins)
        self._any_header = "*" in settings.allowed_headers
        methods = ALL_METHODS if "*" in settings.allowed_methods else tuple(settings.allowed_methods)
        self._methods = methods
        self._headers = sorted({*SAFE_HEADERS, *(h for h in settings.allowed_headers if h != "*")})
        self._credentials = settings.allow_credentials

    def preflight(self, request: Request) -> Response | None:
        """The answer to a preflight request, or None when the request is none."""
        origin = request.headers.get("Origin")
        wanted_method = request.headers.get("Access-Control-Request-Method")
        if request.method != "OPTIONS" or origin is None or wanted_method is None:
            return None
        wanted_headers = request.headers.get("Access-Control-Request-Headers")
        refused = self._refusals(origin, wanted_method, wanted_headers)
        status, text = (400, "Disallowed CORS " + ", ".join(refused)) if refused else (200, "OK")
        response = text_reply(text, "text/plain; charset=utf-8", status)
        headers = response.headers
        headers["Vary"] = PREFLIGHT_VARY
        if self._allows(origin):
            headers["Access-Control-Allow-Origin"] = self._allow_origin(origin)
        headers["Access-Control-Allow-Methods"] = ", ".join(self._methods)
        headers["Access-Control-Max-Age"] = MAX_AGE_SECONDS
        if self._any_header and wanted_headers is not None:
            headers["Access-Control-Allow-Headers"] = wanted_headers
        elif not self._any_header:
            headers["Access-Control-Allow-Headers"] = ", ".join(self._headers)
        if self._credentials:
            headers["Access-Control-Allow-Credentials"] = "true"
        return response

    def _refusals(self, origin: str, method: str, headers: str | None) -> list[str]:
        refused = [] if self._allows(origin) else ["origin"]
        if method not in self._methods:
            refused.append("method")
        if headers is not None and not self._any_header:
            allowed = {name.lower() for name in self._headers}
            if any(name.lower().strip() not in allowed for name in headers.split(",")):
                refused.append("headers")
        return refused

    def _allows(self, origin: str) -> bool:
        return self._any_origin or origin in self._origins

    def _allow_origin(self, origin: str) -> str:
        return "*" if self._any_origin and not self._credentials else origin

    def decorate(self, origin: str | None, response: Response) -> None:
        """Add the headers of an ordinary answer; `origin` is the request's Origin header."""
        headers = response.headers
        # Asked by name, Werkzeug's headers would make an exception of each that is missing.
        for name, _ in headers:
            if name == "Vary":
                break
        else:
            headers.add("Vary", "Origin")
        if origin is not None and self._allows(origin):
            headers["Access-Control-Allow-Origin"] = self._allow_origin(origin)
            if self._credentials:
                headers["Access-Control-Allow-Credentials"] = "true"
