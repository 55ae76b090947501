"""POST /pooling: vectors or class probabilities, of whole prompts or of each token."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from vllm_mock.routes.openai import headers, pooled
from vllm_mock.routes.openai.tensors import Form, Shown, long_numbers, tensors_reply
from vllm_mock.turns import give_way

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
    from vllm_mock.protocol.pooling import POOLING
    from vllm_mock.protocol.pooling_stages import check_engine_input, check_prompts, check_task

    body: Any = headers.read(environ, POOLING)
    task = check_task(body)
    model = pooled.resolve_model(services, body)
    prompts = check_prompts(body, services.tokenizer, services.limits)
    check_engine_input(prompts, services.limits)
    mean = _meaning(task, activated=body.use_activation is not False)
    form = Form(body, long_numbers)
    pool = _of_tokens(services, mean, form) if task.startswith("token_") else _of_text(services, mean, form)
    scheduling = headers.pooling_scheduling(environ, "pooling", body)
    answered, tensors = pooled.run(services, environ, scheduling, model, prompts, pool)
    return tensors_reply(answered, tensors, form, "pooling", "data")


def _meaning(task: str, *, activated: bool) -> Meaning:
    """What is answered for a text."""
    from vllm_mock.pooling import classes
    from vllm_mock.pooling.vectors import embed

    if task.endswith("embed"):
        return lambda text: embed(text, normalise=activated)
    weigh = classes.probabilities if activated else classes.logits
    return lambda text: weigh(embed(text))


def _of_text(services: "Services", mean: Meaning, form: Form) -> Callable[[list[int]], Shown]:
    return lambda ids: form.vector(mean(services.tokenizer.decode(ids)))


def _of_tokens(services: "Services", mean: Meaning, form: Form) -> Callable[[list[int]], Shown]:
    """One row per token; a token that comes again has the same row, which is kept once."""
    rows: dict[int, bytes] = {}
    width = 0

    def pool(ids: list[int]) -> Shown:
        nonlocal width
        for token_id in ids:
            if token_id not in rows:
                vector = mean(services.tokenizer.decode([token_id], skip_special_tokens=False))
                rows[token_id] = form.row(vector)
                width = len(vector)
                give_way()
        return form.matrix([rows[token_id] for token_id in ids], width)

    return pool
