"""OpenAI's routes, a module per resource."""

from typing import TYPE_CHECKING

from flask import Blueprint

from vllm_mock.routes.openai import chat, classify, completions, embeddings, models, pooling, responses, score

if TYPE_CHECKING:
    from vllm_mock.services import Services


def openai_blueprint(services: "Services") -> Blueprint:
    """All of OpenAI's routes."""
    blueprint = Blueprint("openai", __name__)
    for module in (models, chat, completions, responses, embeddings, score, classify, pooling):
        module.register(blueprint, services)
    return blueprint
