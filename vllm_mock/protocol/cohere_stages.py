"""vLLM's checks of a validated request to /v2/embed, in its order."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vllm_mock.protocol import chat_template, pooling_stages
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.limits import Limits
from vllm_mock.protocol.pooling_stages import Tokenizing
from vllm_mock.tokenizer import Tokenizer

if TYPE_CHECKING:
    from vllm_mock.protocol.cohere import CohereEmbedRequest

# Which side is cut off.
_SIDES = {"START": "left", "END": "right", "NONE": None}


@dataclass(slots=True)
class _Chat:
    """What the chat template needs to know."""

    messages: list[dict[str, Any]]
    chat_template: None = None
    chat_template_kwargs: None = None
    add_generation_prompt: bool = False
    continue_final_message: bool = False


def check_inputs(request: "CohereEmbedRequest", tokenizer: Tokenizer, limits: Limits) -> list[list[int]]:
    """Everything between the model's name and the engine. Raises ApiError."""
    _check_input_type(request.input_type)
    keep = _kept(request, limits)
    how = Tokenizing(request.texts is not None, keep, _SIDES[request.truncate])
    found = pooling_stages.tokenize(_texts(request, tokenizer, limits), how, tokenizer, limits)
    pooling_stages.check_dimensions(request.output_dimension, limits)
    pooling_stages.check_engine_input(found, limits)
    if request.truncate == "NONE" and request.max_tokens is not None:
        for ids in found:
            _check_whole(len(ids), request.max_tokens)
    return found


def _check_input_type(input_type: str | None) -> None:
    if input_type is not None:
        raise ApiError.bad_request(
            f"Unsupported input_type {input_type!r}. This model does not define any input_type task instructions."
        )


def _kept(request: "CohereEmbedRequest", limits: Limits) -> int | None:
    """How many tokens of each input are kept; None for all, which then must fit the context."""
    if request.truncate == "NONE":
        return None
    keep, longest = request.max_tokens, limits.max_model_len
    if keep is None:
        return -1
    if keep < -1:
        # vLLM makes another request of it, and does so in vain.
        model = "EmbeddingBatchChatRequest" if request.texts is None else "EmbeddingCompletionRequest"
        raise ApiError.bad_request(
            f"1 validation error for {model}\ntruncate_prompt_tokens\n"
            f"  Input should be greater than or equal to -1 [type=greater_than_equal, input_value={keep}, "
            "input_type=int]\n    For further information visit https://errors.pydantic.dev/2.14/v/greater_than_equal"
        )
    if keep > longest:
        text = (
            f"truncate_prompt_tokens={keep} cannot be greater than max_model_len = {longest}. "
            "Please request a smaller truncation size."
        )
        raise ApiError.bad_request(text, "truncate_prompt_tokens", keep)
    return keep


def _check_whole(count: int, max_tokens: int) -> None:
    if count > max_tokens:
        raise ApiError.bad_request(
            f"Input of {count} tokens exceeds max_tokens={max_tokens} with truncate=NONE. "
            "Set truncate to END or START to allow truncation."
        )


def _texts(request: "CohereEmbedRequest", tokenizer: Tokenizer, limits: Limits) -> list[str]:
    """The prompts: texts as they are, mixed inputs as a user's message."""
    if request.texts is not None:
        return request.texts
    if request.images is not None:
        contents: list[Any] = [[_image(url)] for url in request.images]
    else:
        contents = [[part.model_dump(exclude_none=True) for part in each.content] for each in request.inputs or ()]
    chats = [_Chat([{"role": "user", "content": content}]) for content in contents]
    return [chat_template.render(chat, tokenizer, limits) for chat in chats]  # type: ignore[arg-type]


def _image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}
