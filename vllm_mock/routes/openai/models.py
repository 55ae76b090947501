"""GET /v1/models."""

from typing import TYPE_CHECKING

from flask import Blueprint, Response

from vllm_mock.routes.replies import json_reply

if TYPE_CHECKING:
    from vllm_mock.services import Services


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the route to the blueprint."""

    def models() -> Response:
        return json_reply(services.models.cards())

    blueprint.add_url_rule("/v1/models", "models", models, methods=["GET"])
