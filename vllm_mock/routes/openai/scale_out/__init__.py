"""The routes of the scale-out API, which --enable-scale-out or --tokens-only open."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from flask import Blueprint, Response

from vllm_mock.protocol.errors import ApiError
from vllm_mock.routes.openai.scale_out import derender, generate, render

if TYPE_CHECKING:
    from vllm_mock.services import Services

DISABLED = "Scale-out endpoints are disabled. Restart vllm serve with --enable-scale-out to enable them."


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint."""
    settings = services.settings
    enabled = settings.enable_scale_out or settings.tokens_only
    for module in (render, generate, derender):
        for path, view in module.views(services).items():
            blueprint.add_url_rule(path, path, view if enabled else _refuse(), methods=["POST"])


def _refuse() -> Callable[[], Response]:
    def refuse() -> Response:
        raise ApiError.permission_denied(DISABLED)

    return refuse
