"""OpenAI's routes, a module per resource."""

from typing import TYPE_CHECKING

from flask import Blueprint

from vllm_mock.routes.openai import (
    chat,
    classify,
    completions,
    embeddings,
    messages,
    models,
    pooling,
    responses,
    score,
)

if TYPE_CHECKING:
    from vllm_mock.services import Services

RESOURCES = (
    models,
    chat,
    completions,
    responses,
    messages,
    embeddings,
    score,
    classify,
    pooling,
)


def openai_blueprint(services: "Services") -> Blueprint:
    """All of OpenAI's routes."""
    blueprint = Blueprint("openai", __name__)
    for resource in RESOURCES:
        resource.register(blueprint, services)
    return blueprint
