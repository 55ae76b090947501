"""POST /score and /v1/score, /rerank, /v1/rerank and /v2/rerank: how similar texts are."""

from array import array
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from vllm_mock.protocol.json_text import compact, quote
from vllm_mock.routes.openai import headers, pooled
from vllm_mock.routes.openai.pooled import Answered
from vllm_mock.routes.replies import json_reply

if TYPE_CHECKING:
    from vllm_mock.services import Services


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint."""

    def score() -> Response:
        return answer_score(services, request.environ)

    def rerank() -> Response:
        return answer_rerank(services, request.environ)

    for path in ("/score", "/v1/score"):
        blueprint.add_url_rule(path, path, score, methods=["POST"])
    for path in ("/rerank", "/v1/rerank", "/v2/rerank"):
        blueprint.add_url_rule(path, path, rerank, methods=["POST"])


def answer_score(services: "Services", environ: dict[str, Any]) -> Response:
    """Validate, compare and render; raises ApiError as vLLM would."""
    from vllm_mock.protocol.scoring import SCORE

    body = headers.read(environ, SCORE)
    answered, scores = _scored(services, environ, body)
    entries = (f'{{"index":{index},"object":"score","score":{one!r}}}' for index, one in enumerate(scores))
    return json_reply(f"{answered.head()}{','.join(entries)}{answered.tail()}")


def answer_rerank(services: "Services", environ: dict[str, Any]) -> Response:
    """The same for one query, the best documents first."""
    from vllm_mock.protocol.scoring import RerankRequest

    body = headers.read(environ, RerankRequest)
    answered, scores = _scored(services, environ, body)
    documents = body.documents if isinstance(body.documents, list) else [body.documents]
    best = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
    results = (
        f'{{"index":{index},"document":{_document(documents[index])},"relevance_score":{scores[index]!r}}}'
        for index in (best[: body.top_n] if body.top_n else best)
    )
    tokens = answered.prompt_tokens
    return json_reply(
        f'{{"id":{quote(answered.response_id)},"model":{quote(answered.model)},'
        f'"usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}},"results":[{",".join(results)}]}}'
    )


def _scored(services: "Services", environ: dict[str, Any], body: Any) -> tuple[Answered, list[float]]:
    """The similarity of each pair, in the order of the documents."""
    from vllm_mock.pooling.vectors import embed, similarity
    from vllm_mock.protocol.scoring_stages import check_pairs

    model = pooled.resolve_model(services, body)
    pairs = check_pairs(body, services.tokenizer, services.limits)

    def pool(ids: list[int]) -> array:
        return array("f", embed(services.tokenizer.decode(ids)))

    prompts = [*pairs.queries, *pairs.documents]
    scheduling = headers.pooling_scheduling(environ, "score", body)
    answered, vectors = pooled.run(services, environ, scheduling, model, prompts, pool)
    queries, documents = vectors[: len(pairs.queries)], vectors[len(pairs.queries) :]
    if len(queries) == 1:
        queries *= len(documents)
    # 32-bit numbers, as vLLM computes with.
    return answered, array("f", map(similarity, queries, documents)).tolist()


def _document(document: Any) -> str:
    """A document as it came: a text, or content parts."""
    if isinstance(document, str):
        return f'{{"text":{quote(document)},"multi_modal":null}}'
    return f'{{"text":null,"multi_modal":{compact(document["content"])}}}'
