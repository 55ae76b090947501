"""POST /v1/systemone and /v1/decisions: what vLLM answers when its model makes no decisions."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from vllm_mock.protocol.errors import ApiError
from vllm_mock.routes.openai import headers

if TYPE_CHECKING:
    from vllm_mock.services import Services

ROUTES = (
    ("/v1/systemone", "StructuredDecisionRequest", "structured decision API"),
    ("/v1/decisions", "DecisionRequest", "Decisions API"),
)


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint."""
    for path, model, name in ROUTES:
        blueprint.add_url_rule(path, path.rpartition("/")[2], _refuser(model, name), methods=["POST"])


def _refuser(model: str, name: str) -> Callable[[], Response]:
    def refuse() -> Response:
        from vllm_mock.protocol import decisions

        environ = request.environ
        headers.read(environ, getattr(decisions, model))
        raise ApiError.not_implemented(f"The model does not support the {name}")

    return refuse
