"""vLLM's checks of a validated request to /score or /rerank, in its order."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vllm_mock.protocol import pooling_stages
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.limits import Limits
from vllm_mock.tokenizer import Tokenizer, TokenizerError

if TYPE_CHECKING:
    from vllm_mock.protocol.scoring import ScoredList, ScoringRequest


@dataclass(slots=True)
class CheckedPairs:
    """Token ids of the documents, and of one query for all of them or of one for each."""

    queries: list[list[int]]
    documents: list[list[int]]


def check_pairs(request: "ScoringRequest", tokenizer: Tokenizer, limits: Limits) -> CheckedPairs:
    """Everything between the model's name and the engine. Raises ApiError."""
    pooling_stages.check_truncation(request.truncate_prompt_tokens, limits)
    left, right = request.sides()
    queries, texts = _texts(left), _texts(right)
    _check_counts(len(queries), len(texts))
    for name in ("max_tokens_per_query", "max_tokens_per_doc"):
        _check_bound(name, getattr(request, name), limits)
    how = pooling_stages.tokenizing(request)
    queries = [_cut(text, request.max_tokens_per_query, tokenizer) for text in queries]
    texts = [_cut(text, request.max_tokens_per_doc, tokenizer) for text in texts]
    pairs = CheckedPairs(
        pooling_stages.tokenize(queries, how, tokenizer, limits),
        pooling_stages.tokenize(texts, how, tokenizer, limits),
    )
    pooling_stages.check_engine_input([*pairs.queries, *pairs.documents], limits)
    return pairs


def _texts(side: "ScoredList") -> list[str]:
    return [_text(item) for item in (side if isinstance(side, list) else [side])]


def _text(item: Any) -> str:
    """A text that comes as content parts has them joined by newlines, as in a chat message."""
    if isinstance(item, str):
        return item
    parts = item["content"]
    if any(part["type"] != "text" for part in parts):
        raise ApiError.bad_request("MultiModalParam is not supported for LlamaForCausalLM")
    return "\n".join(part["text"] for part in parts)


def _check_counts(queries: int, documents: int) -> None:
    if queries > 1 and queries != documents:
        raise ApiError.bad_request("Input lengths must be either 1:1, 1:N or N:N")
    if not queries:
        raise ApiError.bad_request("At least one text element must be given")
    if not documents:
        raise ApiError.bad_request("At least one text_pair element must be given")


def _check_bound(name: str, bound: int, limits: Limits) -> None:
    if bound < 0:
        raise ApiError.bad_request(f"{name} must be a non-negative integer")
    if bound >= limits.max_model_len:
        longest = limits.max_model_len
        raise ApiError.bad_request(f"{name} ({bound}) must be less than max_model_len ({longest}).")


def _cut(text: str, bound: int, tokenizer: Tokenizer) -> str:
    """The characters that the first `bound` tokens hold, all of them for 0. Raises ApiError."""
    if not bound:
        return text
    try:
        ids = tokenizer.encode(text, add_special_tokens=False)
    except TokenizerError as e:
        raise ApiError.bad_request(str(e)) from None
    if len(ids) <= bound:
        return text
    kept = tokenizer.decode(ids[:bound], skip_special_tokens=False)
    # The last character may be there in part, which decoding shows as U+FFFD.
    return kept if text.startswith(kept) else kept.rstrip("\ufffd")
