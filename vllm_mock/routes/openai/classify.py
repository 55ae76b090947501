"""POST /classify, which AIBrix's gateway calls /v1/classify."""

from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from vllm_mock.routes.openai import headers, pooled
from vllm_mock.routes.openai.tensors import long_numbers
from vllm_mock.routes.replies import json_reply

if TYPE_CHECKING:
    from vllm_mock.services import Services


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint."""

    def classify() -> Response:
        return answer_classify(services, request.environ)

    blueprint.add_url_rule("/classify", "classify", classify, methods=["POST"])
    blueprint.add_url_rule("/v1/classify", "classify_v1", classify, methods=["POST"])


def answer_classify(services: "Services", environ: dict[str, Any]) -> Response:
    """Validate, pool and render; raises ApiError as vLLM would."""
    from vllm_mock.pooling import classes
    from vllm_mock.pooling.vectors import embed
    from vllm_mock.protocol.pooling import CLASSIFICATION
    from vllm_mock.protocol.pooling_stages import check_engine_input, check_prompts

    body = headers.read(environ, CLASSIFICATION)
    model = pooled.resolve_model(services, body)
    prompts = check_prompts(body, services.tokenizer, services.limits)
    check_engine_input(prompts, services.limits)
    weigh = classes.logits if body.use_activation is False else classes.probabilities

    def pool(ids: list[int]) -> list[float]:
        return weigh(embed(services.tokenizer.decode(ids)))

    scheduling = headers.pooling_scheduling(environ, "classify", body)
    answered, found = pooled.run(services, environ, scheduling, model, prompts, pool)
    entries = (
        f'{{"index":{index},"label":"{classes.LABELS[weights.index(max(weights))]}",'
        f'"probs":{long_numbers(weights)},"num_classes":{len(weights)}}}'
        for index, weights in enumerate(found)
    )
    return json_reply(f"{answered.head()}{','.join(entries)}{answered.tail()}")
