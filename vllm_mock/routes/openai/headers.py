"""What a view reads of its request beside the JSON: body bytes, connection, headers that change what is served.

All read the WSGI environ directly: Werkzeug's wrappers around it would cost more than validating a request.
"""

import random
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeVar

from flask import request

from vllm_mock.protocol.body import parse_json
from vllm_mock.protocol.disaggregation import disaggregation
from vllm_mock.routes.openai.runs import Scheduling
from vllm_mock.routes.replies import DELAY, FAILURE, STARTED

if TYPE_CHECKING:
    from vllm_mock.protocol.parsing import RequestModel
    from vllm_mock.services import Services

T = TypeVar("T")


def body(environ: dict[str, Any]) -> bytes:
    """The whole request body."""
    if environ.get("wsgi.input_terminated"):
        return environ["wsgi.input"].read()
    return request.get_data(cache=False)


def read(environ: dict[str, Any], model: "RequestModel[T]") -> T:
    """The validated request of a route whose body is JSON; raises ApiError with vLLM's status and body."""
    from vllm_mock.protocol.parsing import parse_request

    return parse_request(body(environ), environ.get("CONTENT_TYPE"), model)


def replace_body(environ: dict[str, Any], data: bytes) -> None:
    """Whoever asks for the body from now on gets this one."""
    environ["wsgi.input"], environ["wsgi.input_terminated"] = BytesIO(data), True


def peek(environ: dict[str, Any]) -> bytes:
    """The whole request body, which the view will read again."""
    data = body(environ)
    replace_body(environ, data)
    return data


def json_body(environ: dict[str, Any]) -> Any:
    """The body of a route of our own as JSON, whatever media type a curl command sends by default. Raises ApiError."""
    return parse_json(body(environ), "application/json")


def scheduling(environ: dict[str, Any], prefix: str, request: Any) -> Scheduling:
    """What the engine is told about a validated request; `prefix` begins the id of its answer."""
    shared_work = disaggregation(request)
    extra = getattr(request, "vllm_xargs", None) or {}
    return Scheduling(
        _response_id(environ, prefix, request.request_id),
        environ[STARTED],
        _priority(environ, request.priority),
        request.cache_salt,
        loads_kv=shared_work.loads_kv,
        hands_over_kv=shared_work.hands_over_kv,
        session_id=_session_id(environ, request, extra),
        reports_hits=extra.get("kv_cache_report_mode") == "full",
        delay=environ.get(DELAY, 0.0),
        failure=environ.get(FAILURE),
    )


def _session_id(environ: dict[str, Any], request: Any, extra: dict[str, Any]) -> str | None:
    """The session that KV events name: the body's wins over the X-Session-ID header."""
    given = extra.get("session_id")
    return (
        getattr(request, "session_id", None)
        or environ.get("HTTP_X_SESSION_ID")
        or (given if isinstance(given, str) and given else None)
    )


def pooling_scheduling(environ: dict[str, Any], prefix: str, request: Any) -> Scheduling:
    """The same for a request that generates nothing; Cohere's has neither id nor salt."""
    return Scheduling(
        _response_id(environ, prefix, getattr(request, "request_id", None)),
        environ[STARTED],
        _priority(environ, request.priority),
        getattr(request, "cache_salt", None),
        delay=environ.get(DELAY, 0.0),
        failure=environ.get(FAILURE),
    )


def speech_scheduling(environ: dict[str, Any], prefix: str) -> Scheduling:
    """The same for a form."""
    return Scheduling(
        _response_id(environ, prefix, None),
        environ[STARTED],
        _priority(environ, 0),
        None,
        delay=environ.get(DELAY, 0.0),
        failure=environ.get(FAILURE),
    )


def _response_id(environ: dict[str, Any], prefix: str, requested: str | None) -> str:
    """`prefix-ID`: the X-Request-Id header wins over the body's request_id, else 16 random hex digits."""
    chosen = environ.get("HTTP_X_REQUEST_ID", requested)
    return f"{prefix}-{random.getrandbits(64):016x}" if chosen is None else f"{prefix}-{chosen}"


def connection(environ: dict[str, Any]) -> Any:
    """The client's socket, or None where the server does not tell it."""
    return environ.get("gunicorn.socket") or environ.get("werkzeug.socket")


def load_report(environ: dict[str, Any], services: "Services") -> str | None:
    """The value of the endpoint-load-metrics header, in the form that the request's header asks for."""
    form = environ.get("HTTP_ENDPOINT_LOAD_METRICS_FORMAT", "").lower()
    if form not in ("text", "json"):
        return None
    overrides = services.overrides
    waiting = overrides.gauge("waiting", "vllm:num_requests_waiting")
    usage = overrides.gauge("kv_cache_usage_perc", "gpu_cache_usage_perc", "vllm:kv_cache_usage_perc")
    waiting = float(services.engine.waiting) if waiting is None else waiting
    usage = services.engine.kv_cache_usage if usage is None else usage
    if form == "text":
        return f"TEXT named_metrics.num_requests_waiting={waiting}, named_metrics.kv_cache_usage_perc={usage}"
    return f'JSON {{"named_metrics": {{"num_requests_waiting": {waiting}, "kv_cache_usage_perc": {usage}}}}}'


def data_parallel_rank(environ: dict[str, Any]) -> int | None:
    """The rank that X-data-parallel-rank asks for; what is no integer is ignored."""
    return _integer(environ.get("HTTP_X_DATA_PARALLEL_RANK"))


def _priority(environ: dict[str, Any], requested: int) -> int:
    """The scheduling priority: the X-Vllm-Priority header wins over the body."""
    asked = _integer(environ.get("HTTP_X_VLLM_PRIORITY"))
    return requested if asked is None else asked


def _integer(header: str | None) -> int | None:
    if header is None:
        return None
    try:
        return int(header)
    except ValueError:
        return None
