"""OpenAI's routes, a module per resource."""

from typing import TYPE_CHECKING

from flask import Blueprint

from vllm_mock.routes.openai import (
    batch,
    chat,
    classify,
    completions,
    decisions,
    embeddings,
    file_links,
    generative_scoring,
    images,
    invocations,
    messages,
    models,
    pooling,
    responses,
    scale_out,
    score,
    speech,
    transcriptions,
    videos,
)

if TYPE_CHECKING:
    from vllm_mock.services import Services

RESOURCES = (
    models,
    chat,
    completions,
    responses,
    messages,
    batch,
    generative_scoring,
    decisions,
    invocations,
    embeddings,
    score,
    classify,
    pooling,
    images,
    videos,
    file_links,
    speech,
    transcriptions,
    scale_out,
)


def openai_blueprint(services: "Services") -> Blueprint:
    """All of OpenAI's routes."""
    blueprint = Blueprint("openai", __name__)
    for resource in RESOURCES:
        resource.register(blueprint, services)
    return blueprint
