"""Request headers that change what is served."""

import random
from typing import TYPE_CHECKING, Any

from flask import request

from vllm_mock.protocol.errors import ApiError

if TYPE_CHECKING:
    from vllm_mock.services import Services


def response_id(prefix: str, requested: str | None) -> str:
    """`prefix-ID`: the X-Request-Id header wins over the body's request_id, else 16 random hex digits."""
    chosen = request.headers.get("X-Request-Id") or requested or f"{random.getrandbits(64):016x}"
    return f"{prefix}-{chosen}"


def connection() -> Any:
    """The client's socket, or None where the server does not tell it."""
    environ = request.environ
    return environ.get("gunicorn.socket") or environ.get("werkzeug.socket")


def load_report(services: "Services") -> str | None:
    """The value of the endpoint-load-metrics header, in the form that the request's header asks for."""
    form = request.headers.get("endpoint-load-metrics-format", "").lower()
    if form not in ("text", "json"):
        return None
    waiting = float(services.engine.waiting)
    usage = services.engine.kv_cache_usage
    if form == "text":
        return f"TEXT named_metrics.num_requests_waiting={waiting}, named_metrics.kv_cache_usage_perc={usage}"
    return f'JSON {{"named_metrics": {{"num_requests_waiting": {waiting}, "kv_cache_usage_perc": {usage}}}}}'


def check_data_parallel_rank(services: "Services") -> None:
    """Refuse an X-data-parallel-rank outside the ranks that exist; what is no integer is ignored."""
    header = request.headers.get("X-data-parallel-rank")
    if header is None:
        return
    try:
        rank = int(header)
    except ValueError:
        return
    ranks = services.settings.data_parallel_size
    if not 0 <= rank < ranks:
        raise ApiError.bad_request(f"data_parallel_rank {rank} is out of range [0, {ranks}).")


def priority(requested: int) -> int:
    """The scheduling priority: the X-Vllm-Priority header wins over the body."""
    try:
        return int(request.headers["X-Vllm-Priority"])
    except (KeyError, ValueError):
        return requested
