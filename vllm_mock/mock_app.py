"""The Flask application class: habits of Flask that vLLM does not share are off, and known routes take a short way."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flask import Flask, Request, Response
from flask.ctx import RequestContext
from flask.globals import _cv_app, _cv_request
from werkzeug.routing import BaseConverter, MapAdapter, Rule

from vllm_mock.lifecycle import Lifecycle
from vllm_mock.routes.pacing import Step
from vllm_mock.services import Services

View = Callable[[], Any]


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


class LazyRequest(Request):
    """A request that takes its environ apart only for a view that asks for what needs it."""

    def __init__(self, environ: dict[str, Any], populate_request: bool = False, shallow: bool = False) -> None:
        self.environ = environ
        self.shallow = shallow
        self.method = environ["REQUEST_METHOD"]

    def __getattr__(self, name: str) -> Any:
        """Called for what is not there: yet, or at all."""
        if "headers" in self.__dict__:
            raise AttributeError(name)
        super().__init__(self.environ, populate_request=False, shallow=self.shallow)
        return getattr(self, name)


class RoutedContext(RequestContext):
    """The context of a request whose route is known: no session, no routing."""

    def __init__(self, app: Flask, request: Request) -> None:
        self.app = app
        self.request = request
        self.url_adapter = None
        self.flashes = None
        self._session = None
        self._after_request_functions = []
        self._cv_tokens = []


class InFlightBody:
    """A response body that ends its request's life when the server closes it."""

    __slots__ = ("_body", "_lifecycle")

    def __init__(self, body: Iterable[bytes], lifecycle: Lifecycle) -> None:
        self._body = body
        self._lifecycle = lifecycle

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    @property
    def steps(self) -> Iterator[Step] | None:
        """Those of a paced body, for a worker that can follow them."""
        return getattr(self._body, "steps", None)

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._lifecycle.end()


class MockApp(Flask):
    """The WSGI application of one worker.

    A route without variables is found in a table and called without what Flask has around it and nothing here
    uses: sessions, signals, teardown functions. Other routes and unknown ones go Flask's own way.
    """

    request_class = LazyRequest
    url_rule_class = ExactRule
    services: Services
    # By which AIBrix's gateway tests see where a request was routed to.
    pod_headers: list[tuple[str, str]]

    def fill_route_table(self) -> None:
        """To be called when every route and hook is registered."""
        hooks = (self.before_request_funcs, self.after_request_funcs, self.teardown_request_funcs)
        hooked = {name for table in hooks for name, functions in table.items() if functions}
        self._routes: dict[tuple[str, str], tuple[Rule, View]] = {}
        for rule in self.url_map.iter_rules():
            blueprint = rule.endpoint.rpartition(".")[0]
            if not rule.arguments and blueprint not in hooked:
                for method in rule.methods or ():
                    self._routes.setdefault((method, rule.rule), (rule, self.view_functions[rule.endpoint]))
        self._shared_app_context = self.app_context()

    def wsgi_app(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        route = self._routes.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if route is None:
            return super().wsgi_app(environ, start_response)
        request = LazyRequest(environ)
        request.url_rule, view = route
        app_token = _cv_app.set(self._shared_app_context)
        request_token = _cv_request.set(RoutedContext(self, request))
        try:
            try:
                response = self._decorated(self._answer(view))
            except Exception as error:
                response = self.handle_exception(error)
            return response(environ, start_response)
        finally:
            _cv_request.reset(request_token)
            _cv_app.reset(app_token)

    def _answer(self, view: View) -> Response:
        try:
            answer: Any = self._refusal() or view()
        except Exception as error:
            answer = self.handle_user_exception(error)
        return answer if isinstance(answer, Response) else self.make_response(answer)

    def _refusal(self) -> Any:
        for admit in self.before_request_funcs[None]:
            if (refusal := admit()) is not None:
                return refusal
        return None

    def _decorated(self, response: Any) -> Response:
        for decorate in self.after_request_funcs[None]:
            response = decorate(response)
        return response

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Flask's own also looks at host names and subdomains."""
        if request is None:
            return None
        environ = request.environ
        return MapAdapter(
            self.url_map,
            server_name="localhost",
            script_name=environ.get("SCRIPT_NAME") or "/",
            subdomain="",
            url_scheme=environ["wsgi.url_scheme"],
            # WSGI has the path's bytes as Latin-1.
            path_info=environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace"),
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
