"""OpenAI's routes, a module per resource."""

from typing import TYPE_CHECKING

from flask import Blueprint

from vllm_mock.routes.openai import chat, completions, models

if TYPE_CHECKING:
    from vllm_mock.services import Services


def openai_blueprint(services: "Services") -> Blueprint:
    """All of OpenAI's routes."""
    blueprint = Blueprint("openai", __name__)
    for module in (models, chat, completions):
        module.register(blueprint, services)
    return blueprint
