"""POST /pooling: vectors or class probabilities, of whole prompts or of each token."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from vllm_mock.routes.openai import headers, pooled
from vllm_mock.routes.openai.pooled import Entry, Tensor

if TYPE_CHECKING:
    from vllm_mock.services import Services

Meaning = Callable[[str], list[float]]


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the route to the blueprint."""

    def pooling() -> Response:
        return answer_pooling(services, request.environ)

    blueprint.add_url_rule("/pooling", "pooling", pooling, methods=["POST"])


def answer_pooling(services: "Services", environ: dict[str, Any]) -> Response:
    """Validate, pool and render; raises ApiError as vLLM would."""
    from vllm_mock.protocol.parsing import parse_request
    from vllm_mock.protocol.pooling import POOLING
    from vllm_mock.protocol.pooling_stages import check_engine_input, check_prompts, check_task

    body: Any = parse_request(headers.body(environ), environ.get("CONTENT_TYPE"), POOLING)
    task = check_task(body)
    model = pooled.resolve_model(services, body.model)
    prompts = check_prompts(body, services.tokenizer, services.limits)
    check_engine_input(prompts, services.limits)
    mean = _meaning(task, activated=body.use_activation is not False)
    pool = _of_tokens(services, mean) if task.startswith("token_") else _of_text(services, mean)
    scheduling = headers.pooling_scheduling(environ, "pooling", body)
    answered, tensors = pooled.run(services, environ, scheduling, model, prompts, pool)
    return pooled.tensors_reply(answered, tensors, Entry("pooling", "data", pooled.long_numbers), body)


def _meaning(task: str, *, activated: bool) -> Meaning:
    """What is answered for a text."""
    from vllm_mock.pooling import classes
    from vllm_mock.pooling.vectors import embed

    if task.endswith("embed"):
        return lambda text: embed(text, normalise=activated)
    weigh = classes.probabilities if activated else classes.logits
    return lambda text: weigh(embed(text))


def _of_text(services: "Services", mean: Meaning) -> Callable[[list[int]], Tensor]:
    return lambda ids: Tensor(mean(services.tokenizer.decode(ids)))


def _of_tokens(services: "Services", mean: Meaning) -> Callable[[list[int]], Tensor]:
    """One row per token; a token that comes again has the same row."""
    rows: dict[int, list[float]] = {}

    def pool(ids: list[int]) -> Tensor:
        for token_id in ids:
            if token_id not in rows:
                rows[token_id] = mean(services.tokenizer.decode([token_id], skip_special_tokens=False))
        return Tensor([number for token_id in ids for number in rows[token_id]], len(ids))

    return pool
