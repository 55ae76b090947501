"""POST /tokenize and /detokenize."""

from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from vllm_mock.protocol.json_text import compact
from vllm_mock.routes.openai.prepare import resolve_model
from vllm_mock.routes.replies import json_reply

if TYPE_CHECKING:
    from vllm_mock.services import Services


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint."""
    tokenizer = services.tokenizer

    def tokenize() -> Response:
        from vllm_mock.protocol.parsing import parse_request
        from vllm_mock.protocol.tokenize import TokenizeCompletionRequest, TokenizeRequest

        body = parse_request(request.get_data(cache=False), request.headers.get("Content-Type"), TokenizeRequest)
        resolve_model(services, body.model)
        if isinstance(body, TokenizeCompletionRequest):
            text = body.prompt
        else:
            text = tokenizer.apply_chat_template([dict(m) for m in body.messages])
        ids = tokenizer.encode(text, body.add_special_tokens)
        return json_reply(
            compact(
                {
                    "count": len(ids),
                    "max_model_len": services.settings.max_model_len,
                    "tokens": ids,
                    "token_strs": [tokenizer.token(i) for i in ids] if body.return_token_strs else None,
                }
            )
        )

    def detokenize() -> Response:
        from vllm_mock.protocol.parsing import parse_request
        from vllm_mock.protocol.tokenize import DetokenizeRequest

        body = parse_request(request.get_data(cache=False), request.headers.get("Content-Type"), DetokenizeRequest)
        resolve_model(services, body.model)
        return json_reply(compact({"prompt": tokenizer.decode(body.tokens)}))

    blueprint.add_url_rule("/tokenize", "tokenize", tokenize, methods=["POST"])
    blueprint.add_url_rule("/detokenize", "detokenize", detokenize, methods=["POST"])
