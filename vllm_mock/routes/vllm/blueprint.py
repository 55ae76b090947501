"""Routes that vLLM adds to OpenAI's: tokenizer, metrics, load, version, documentation."""

from typing import TYPE_CHECKING

from flask import Blueprint

from vllm_mock.routes.vllm import control, docs, engine, faults, lora, metrics, set_metrics, tokenize, weights, workers

if TYPE_CHECKING:
    from vllm_mock.services import Services


def vllm_blueprint(services: "Services") -> Blueprint:
    """All of vLLM's own routes."""
    blueprint = Blueprint("vllm", __name__)
    for module in (control, engine, workers, weights, lora, metrics, set_metrics, faults, tokenize, docs):
        module.register(blueprint, services)
    return blueprint
