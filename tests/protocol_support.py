"""What the tests of the protocol share: requests checked without a server, as the views do it."""

import json
from typing import Any

from tokenizer_support import characters

from vllm_mock.protocol import engine_checks, stages
from vllm_mock.protocol.chat import ChatCompletionRequest
from vllm_mock.protocol.completions import CompletionRequest
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.limits import Limits
from vllm_mock.protocol.parsing import parse_request
from vllm_mock.protocol.tokenize import DetokenizeRequest, TokenizeRequest

ALIASES = ("tiny", "alias2")
# The server of the recorded answers: --served-model-name tiny alias2 --max-model-len 256, a token per character.
LIMITS = Limits(model="tiny", max_model_len=256, vocab_size=320, max_chars_per_token=13)
HI = [{"role": "user", "content": "hi"}]
CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"


class StreamedError(Exception):
    """An error that comes after the headers of a stream."""

    def __init__(self, error: ApiError, spaced: bool) -> None:
        super().__init__(error.message)
        payload = error.payload()
        self.event = json.dumps(payload) if spaced else error.body().decode()


def check(path: str, raw: bytes, headers: dict[str, str], limits: Limits = LIMITS) -> Any:
    """The validated request; raises ApiError or StreamedError."""
    models = {CHAT: ChatCompletionRequest, COMPLETIONS: CompletionRequest, "/tokenize": TokenizeRequest}
    content_type = headers.get("Content-Type")
    request = parse_request(raw, content_type and content_type.strip(), models.get(path, DetokenizeRequest))
    if request.model and request.model not in ALIASES:
        raise ApiError.model_not_found(request.model, ALIASES)
    if path == CHAT:
        prompts = [stages.check_chat(request, characters(), limits)]
    elif path == COMPLETIONS:
        prompts = stages.check_completion(request, characters(), limits)
    elif path == "/tokenize":
        return stages.tokenize(request, characters(), limits)
    else:
        return stages.detokenize(request.tokens, characters())
    rank = headers.get("X-data-parallel-rank", "")
    try:
        for prompt in prompts:
            rank_asked = int(rank) if rank.strip("-").isdigit() else None
            engine_checks.check_engine_input(request, prompt.token_ids, limits, rank_asked)
    except ApiError as e:
        if request.stream:
            raise StreamedError(e, spaced=path == COMPLETIONS) from None
        raise
    return request


def send(path: str, body: Any, limits: Limits = LIMITS) -> Any:
    """The outcome of a JSON body."""
    return check(path, json.dumps(body).encode(), {"Content-Type": "application/json"}, limits)


def refusal(path: str, body: Any, limits: Limits = LIMITS) -> ApiError:
    """The error that a JSON body is refused with."""
    try:
        send(path, body, limits)
    except ApiError as e:
        return e
    raise AssertionError(f"accepted: {body}")


def chat_refusal(limits: Limits = LIMITS, **fields: Any) -> ApiError:
    """The refusal of a small chat request with these fields."""
    return refusal(CHAT, {"messages": HI, "max_tokens": 1} | fields, limits)


def completion_refusal(limits: Limits = LIMITS, **fields: Any) -> ApiError:
    """The refusal of a small completion request with these fields."""
    return refusal(COMPLETIONS, {"prompt": "hi", "max_tokens": 1} | fields, limits)
