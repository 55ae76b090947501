"""POST /tokenize and /detokenize."""

from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.json_text import compact
from vllm_mock.routes.openai import headers
from vllm_mock.routes.openai.prepare import resolve_model
from vllm_mock.routes.replies import json_reply
from vllm_mock.tokenizer import TokenizerError

if TYPE_CHECKING:
    from vllm_mock.services import Services


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint."""

    def tokenize() -> Response:
        from vllm_mock.protocol.parsing import parse_request
        from vllm_mock.protocol.tokenize import TokenizeRequest

        body = parse_request(headers.body(request.environ), request.environ.get("CONTENT_TYPE"), TokenizeRequest)
        resolve_model(services, body.model)
        tokenizer = services.tokenizer
        try:
            ids = tokenizer.encode(_text(services, body), body.add_special_tokens)
        except TokenizerError as error:
            raise ApiError.bad_request(str(error)) from None
        tokens = [tokenizer.token(token_id) for token_id in ids] if body.return_token_strs else None
        return json_reply(
            compact(
                {
                    "count": len(ids),
                    "max_model_len": services.settings.max_model_len,
                    "tokens": ids,
                    "token_strs": tokens,
                }
            )
        )

    def detokenize() -> Response:
        from vllm_mock.protocol.parsing import parse_request
        from vllm_mock.protocol.tokenize import DetokenizeRequest

        body = parse_request(headers.body(request.environ), request.environ.get("CONTENT_TYPE"), DetokenizeRequest)
        resolve_model(services, body.model)
        try:
            text = services.tokenizer.decode(body.tokens, skip_special_tokens=False)
        except TokenizerError as error:
            raise ApiError.bad_request(str(error)) from None
        return json_reply(compact({"prompt": text}))

    blueprint.add_url_rule("/tokenize", "tokenize", tokenize, methods=["POST"])
    blueprint.add_url_rule("/detokenize", "detokenize", detokenize, methods=["POST"])


def _text(services: "Services", body: Any) -> str:
    """The prompt, or the conversation as the chat template renders it."""
    from vllm_mock.protocol.chat_template import check_trust, render
    from vllm_mock.protocol.tokenize import TokenizeCompletionRequest

    if isinstance(body, TokenizeCompletionRequest):
        return body.prompt
    check_trust(body, services.limits)
    return render(body, services.tokenizer, services.limits)
