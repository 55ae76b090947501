"""vLLM's checks of a validated pooling request, in its order.

1. /pooling: `dimensions` and the task;
2. media arguments, with which a client is not trusted (`trust.check_media_arguments`);
3. the model's name;
4. the truncation against the context, templates of the client;
5. the prompts: conversations and template, lengths in characters, lengths in tokens;
6. `dimensions`;
7. what the engine refuses: ids that are no tokens, then empty prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vllm_mock.protocol import chat_template, prompts, trust
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.limits import Limits
from vllm_mock.tokenizer import Tokenizer, TokenizerError
from vllm_mock.turns import give_way

if TYPE_CHECKING:
    from vllm_mock.protocol.pooling import PoolingRequest, PromptRequest

# The longest vectors of OpenAI's models.
MAX_DIMENSIONS = 3072
TASKS = ("embed", "token_embed", "classify", "token_classify")

Prompt = str | list[int]


@dataclass(frozen=True, slots=True)
class Tokenizing:
    """How prompts become tokens.

    `keep`: None is all, and too many are refused; -1 is as many as the context holds. `side` is the one that is
    cut off, the right one by default (unlike for generation). `pad` fills up to the context.
    """

    add_special_tokens: bool = True
    keep: int | None = None
    side: str | None = None
    pad: bool = False


def check_task(request: "PoolingRequest") -> str:
    """What a request to /pooling wants of its prompts. Raises ApiError."""
    if getattr(request, "dimensions", None) is not None:
        raise ApiError.bad_request("dimensions is currently not supported", "dimensions")
    task = request.task or TASKS[0]
    if task == "plugin" or "data" in type(request).model_fields:
        raise ApiError.bad_request(
            "No IOProcessor plugin installed. Please refer to the documentation and to the "
            "'prithvi_geospatial_mae_io_processor' offline inference example for more details.",
            "task",
        )
    if task not in TASKS:
        raise ApiError.bad_request(f"Unsupported task: {task!r} Supported tasks: {TASKS}", "task")
    return task


def check_prompts(request: "PromptRequest", tokenizer: Tokenizer, limits: Limits) -> list[list[int]]:
    """The token ids of each prompt of a request for vectors or classes. Raises ApiError."""
    check_truncation(request.truncate_prompt_tokens, limits)
    if "messages" in type(request).model_fields:
        trust.check_chat_template(request, limits)  # type: ignore[arg-type]
        found: Sequence[Prompt] = _conversations(request, tokenizer, limits)
    else:
        found = _input(request)
    return tokenize(found, tokenizing(request), tokenizer, limits)


def tokenizing(request: Any) -> Tokenizing:
    """What the fields of a request say about its tokens."""
    return Tokenizing(
        getattr(request, "add_special_tokens", True),
        request.truncate_prompt_tokens,
        request.truncation_side,
        request.padding == "max_length",
    )


def check_truncation(keep: int | None, limits: Limits) -> None:
    """Refuses to keep more tokens than the context holds. Raises ApiError."""
    if keep is not None and keep > limits.max_model_len:
        raise ApiError.bad_request(
            "truncate_prompt_tokens value is greater than max_model_len. Please request a smaller truncation size."
        )


def tokenize(found: Sequence[Prompt], how: Tokenizing, tokenizer: Tokenizer, limits: Limits) -> list[list[int]]:
    """The token ids of all prompts. Raises ApiError for one that is too long or cannot be tokenized."""
    if how.keep is None:
        for prompt in found:
            if isinstance(prompt, str):
                prompts.check_characters(len(prompt), limits)
    tokenized = []
    for prompt in found:
        tokenized.append(_tokenized(prompt, how, tokenizer, limits))
        give_way()
    return tokenized


def check_dimensions(dimensions: int | None, limits: Limits) -> None:
    """Refuses vectors that are longer than any, or empty. Raises ApiError."""
    if dimensions is not None and not 1 <= dimensions <= MAX_DIMENSIONS:
        raise ApiError.bad_request(
            f"Model '{limits.model}' only supports dimensions in range [1, {MAX_DIMENSIONS}], got {dimensions}."
        )


def check_engine_input(found: Sequence[Sequence[int]], limits: Limits) -> None:
    """What the engine refuses. Unlike generation it needs no room for output. Raises ApiError."""
    for ids in filter(None, found):
        bad = next((bound for bound in (min(ids), max(ids)) if not 0 <= bound < limits.vocab_size), None)
        if bad is not None:
            raise ApiError.bad_request(f"Token id {bad} is out of vocabulary")
    if not all(found):
        raise ApiError.bad_request("The decoder prompt cannot be empty")


def _conversations(request: Any, tokenizer: Tokenizer, limits: Limits) -> list[str]:
    """The prompts' texts: `messages` holds one conversation, or several."""
    messages = request.messages
    if not messages or not isinstance(messages[0], list):
        return [chat_template.render(request, tokenizer, limits)]
    each = (request.model_copy(update={"messages": conversation}) for conversation in messages)
    return [chat_template.render(one, tokenizer, limits) for one in each]


def _input(request: Any) -> Sequence[Prompt]:
    asked = request.input
    if isinstance(asked, str):
        return [asked]
    if not asked:
        raise ApiError.bad_request("You must pass at least one prompt")
    return [asked] if isinstance(asked[0], int) else asked


def _tokenized(prompt: Prompt, how: Tokenizing, tokenizer: Tokenizer, limits: Limits) -> list[int]:
    try:
        ids = tokenizer.encode(prompt, how.add_special_tokens) if isinstance(prompt, str) else prompt
    except TokenizerError as e:
        raise ApiError.bad_request(str(e)) from None
    longest = limits.max_model_len
    if how.keep is None:
        prompts.check_tokens(len(ids), isinstance(prompt, str), limits)
    else:
        ids = prompts.truncated(ids, longest if how.keep < 0 else how.keep, how.side or "right")
    if how.pad and ids:
        ids = [*ids, *[tokenizer.eos_token_id] * (longest - len(ids))]
    return ids
