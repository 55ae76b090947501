"""POST /tokenize and /detokenize."""

from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from vllm_mock.protocol.json_text import compact
from vllm_mock.routes.openai import headers
from vllm_mock.routes.openai.prepare import resolve_model
from vllm_mock.routes.replies import json_reply

if TYPE_CHECKING:
    from vllm_mock.services import Services


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint."""

    def tokenize() -> Response:
        from vllm_mock.protocol import stages
        from vllm_mock.protocol.tokenize import TokenizeRequest

        body = headers.read(request.environ, TokenizeRequest)
        resolve_model(services, body.model)
        tokenizer = services.tokenizer
        ids = stages.tokenize(body, tokenizer, services.limits)
        answer = {
            "count": len(ids),
            "max_model_len": services.settings.max_model_len,
            "tokens": ids,
            "token_strs": [tokenizer.token(token_id) for token_id in ids] if body.return_token_strs else None,
        }
        return json_reply(compact(answer))

    def detokenize() -> Response:
        from vllm_mock.protocol import stages
        from vllm_mock.protocol.tokenize import DetokenizeRequest

        body = headers.read(request.environ, DetokenizeRequest)
        resolve_model(services, body.model)
        return json_reply(compact({"prompt": stages.detokenize(body.tokens, services.tokenizer)}))

    blueprint.add_url_rule("/tokenize", "tokenize", tokenize, methods=["POST"])
    blueprint.add_url_rule("/detokenize", "detokenize", detokenize, methods=["POST"])
