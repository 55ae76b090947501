"""/set_metrics: bend what /metrics shows, for a test of whoever reads it."""

from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from vllm_mock.metrics.override_store import OverrideError
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.json_text import compact
from vllm_mock.routes.openai import headers
from vllm_mock.routes.replies import json_reply

if TYPE_CHECKING:
    from vllm_mock.services import Services


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the route to the blueprint."""
    overrides = services.overrides

    def set_metrics() -> Response:
        document = headers.json_body(request.environ)
        try:
            overrides.merge(document)
        except OverrideError as refusal:
            raise ApiError.bad_request(str(refusal)) from None
        return _success("Overrides updated")

    def show_metrics() -> Response:
        return json_reply(compact(overrides.document()))

    def clear_metrics() -> Response:
        overrides.clear()
        return _success("Overrides cleared")

    blueprint.add_url_rule("/set_metrics", "set_metrics", set_metrics, methods=["POST"])
    blueprint.add_url_rule("/set_metrics", "show_metrics", show_metrics, methods=["GET"])
    blueprint.add_url_rule("/set_metrics", "clear_metrics", clear_metrics, methods=["DELETE"])


def _success(message: str) -> Response:
    return json_reply(f'{{"status": "success", "message": "{message}"}}')
