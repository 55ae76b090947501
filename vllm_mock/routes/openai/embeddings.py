"""POST /v1/embeddings, and /v2/embed in Cohere's form."""

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from vllm_mock.pooling import encoding
from vllm_mock.protocol.json_text import compact, quote
from vllm_mock.routes.openai import headers, pooled
from vllm_mock.routes.openai.pooled import Answered
from vllm_mock.routes.openai.tensors import Form, Shown, long_numbers, short_numbers, tensors_reply
from vllm_mock.routes.replies import json_reply

if TYPE_CHECKING:
    from vllm_mock.protocol.cohere import CohereEmbedRequest
    from vllm_mock.services import Services

# The modules of protocol that import pydantic are imported where they are used: a probe must not wait for them.


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint."""

    def embeddings() -> Response:
        return answer_embeddings(services, request.environ)

    def cohere_embed() -> Response:
        return _cohere(services, request.environ)

    blueprint.add_url_rule("/v1/embeddings", "embeddings", embeddings, methods=["POST"])
    blueprint.add_url_rule("/v2/embed", "cohere_embed", cohere_embed, methods=["POST"])


def answer_embeddings(services: "Services", environ: dict[str, Any]) -> Response:
    """Validate, pool and render; raises ApiError as vLLM would."""
    from vllm_mock.pooling.vectors import DEFAULT_DIMENSIONS, embed
    from vllm_mock.protocol.pooling import EMBEDDING
    from vllm_mock.protocol.pooling_stages import check_dimensions, check_engine_input, check_prompts

    body = headers.read(environ, EMBEDDING)
    model = pooled.resolve_model(services, body)
    prompts = check_prompts(body, services.tokenizer, services.limits)
    check_dimensions(body.dimensions, services.limits)
    check_engine_input(prompts, services.limits)
    dimensions = body.dimensions or DEFAULT_DIMENSIONS
    normalise = body.use_activation is not False

    form = Form(body, short_numbers)

    def pool(ids: list[int]) -> Shown:
        return form.vector(embed(services.tokenizer.decode(ids), dimensions, normalise=normalise))

    scheduling = headers.pooling_scheduling(environ, "embd", body)
    answered, tensors = pooled.run(services, environ, scheduling, model, prompts, pool)
    return tensors_reply(answered, tensors, form, "embedding", "embedding")


def _cohere(services: "Services", environ: dict[str, Any]) -> Response:
    from vllm_mock.pooling.vectors import DEFAULT_DIMENSIONS, embed
    from vllm_mock.protocol.cohere import CohereEmbedRequest
    from vllm_mock.protocol.cohere_stages import check_inputs

    body = headers.read(environ, CohereEmbedRequest)
    model = pooled.resolve_model(services, body)
    prompts = check_inputs(body, services.tokenizer, services.limits)
    dimensions = body.output_dimension or DEFAULT_DIMENSIONS

    kinds = [name for name in _COHERE_FORMS if name in (body.embedding_types or ("float",))]

    def pool(ids: list[int]) -> list[str]:
        vector = embed(services.tokenizer.decode(ids), dimensions)
        return [_COHERE_FORMS[kind](vector) for kind in kinds]

    scheduling = headers.pooling_scheduling(environ, "embd", body)
    answered, shown = pooled.run(services, environ, scheduling, model, prompts, pool)
    by_kind = zip(kinds, zip(*shown, strict=True), strict=True)
    return json_reply(_cohere_body(answered, ",".join(f'"{kind}":[{",".join(one)}]' for kind, one in by_kind), body))


def _cohere_body(answered: Answered, embeddings: str, body: "CohereEmbedRequest") -> str:
    texts = "" if body.texts is None else f'"texts":{compact(body.texts)},'
    return (
        f'{{"id":{quote(answered.response_id)},"embeddings":{{{embeddings}}},{texts}'
        '"meta":{"api_version":{"version":"2"},'
        f'"billed_units":{{"input_tokens":{answered.prompt_tokens},"image_tokens":0}}}},'
        '"response_type":"embeddings_by_type"}'
    )


def _bits(vector: list[float]) -> str:
    return compact(list(encoding.bits(vector)))


def _signed_bits(vector: list[float]) -> str:
    return compact([byte - 128 for byte in encoding.bits(vector)])


def _base64(vector: list[float]) -> str:
    return f'"{base64.b64encode(encoding.to_bytes(vector)).decode()}"'


# In the order of an answer.
_COHERE_FORMS: dict[str, Callable[[list[float]], str]] = {
    "float": long_numbers,
    "binary": _signed_bits,
    "ubinary": _bits,
    "base64": _base64,
}
