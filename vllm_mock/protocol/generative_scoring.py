"""The request of /generative_scoring: how likely a model is to go on with one of some tokens."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from vllm_mock.protocol.common import REQUEST, Int64
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.limits import Limits
from vllm_mock.protocol.precheck import check_cache_salt
from vllm_mock.tokenizer import Tokenizer


class GenerativeScoringRequest(BaseModel):
    """A query and items, each of which is scored with it; texts or token ids.

    `request_id` is None unless the client set it.
    """

    model_config = REQUEST

    model: str | None = None
    query: str | list[int]
    items: list[str] | list[list[int]]
    label_token_ids: list[int]
    apply_softmax: bool = True
    item_first: bool = False
    add_special_tokens: bool = True
    cache_salt: str | None = None
    priority: Int64 = 0
    request_id: str = None  # type: ignore[assignment]

    precheck = staticmethod(check_cache_salt)


def check_labels(request: GenerativeScoringRequest, limits: Limits) -> None:
    """Raises ApiError."""
    if not request.label_token_ids:
        raise ApiError.bad_request("label_token_ids must contain at least one token ID.")
    if not request.items:
        raise ApiError.bad_request("items must contain at least one item.")
    for label in request.label_token_ids:
        if not 0 <= label < limits.vocab_size:
            raise ApiError.bad_request(
                f"label_token_id {label} is out of vocabulary range [0, {limits.vocab_size}). "
                "Please provide valid token IDs."
            )


def scored_prompts(request: GenerativeScoringRequest, tokenizer: Tokenizer, limits: Limits) -> list[list[int]]:
    """The token ids of each prompt, cut to what leaves room for one token. Raises ApiError."""
    query = request.query
    if isinstance(query, str):
        query = tokenizer.encode(query, request.add_special_tokens)
    prompts = [_prompt(request, query, item, tokenizer)[: limits.max_model_len - 1] for item in request.items]
    for prompt in prompts:
        if not prompt:
            raise ApiError.bad_request("The decoder prompt cannot be empty")
        if max(prompt) >= limits.vocab_size:
            raise ApiError.bad_request(f"Token id {max(prompt)} is out of vocabulary")
    return prompts


def _prompt(request: GenerativeScoringRequest, query: Sequence[int], item: Any, tokenizer: Tokenizer) -> list[int]:
    ids = tokenizer.encode(item, False) if isinstance(item, str) else item
    return [*ids, *query] if request.item_first else [*query, *ids]
