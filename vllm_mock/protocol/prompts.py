"""From the prompt of a request to token ids: lengths and truncation, refused in vLLM's words and order."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from vllm_mock.protocol.common import INT64_MAX
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.limits import Limits
from vllm_mock.tokenizer import Tokenizer, TokenizerError

if TYPE_CHECKING:
    from vllm_mock.protocol.completions import CompletionRequest
    from vllm_mock.protocol.sampling import Request


@dataclass(slots=True)
class TokenizedPrompt:
    """`token_ids` as the engine gets them; `text` is None when the request gave token ids."""

    token_ids: list[int]
    text: str | None


def tokenize_prompts(
    request: "Request", prompts: Sequence[str | list[int]], tokenizer: Tokenizer, limits: Limits
) -> list[TokenizedPrompt]:
    """All prompts of a request; raises ApiError for one that is too long or cannot be tokenized.

    The lengths in characters come first, for all prompts: a huge text is refused without tokenizing it.
    """
    if request.truncate_prompt_tokens is None:
        for prompt in prompts:
            if isinstance(prompt, str):
                check_characters(len(prompt), limits)
    return [_tokenized(request, prompt, tokenizer, limits) for prompt in prompts]


def check_supported(request: "CompletionRequest") -> None:
    """Refuses a suffix, which only models that fill in the middle take, and what embeddings exclude."""
    if request.suffix is not None:
        text = _suffix_refusal(request)
        if text is None:
            raise ApiError.bad_request("You must pass at least one prompt", "prompt")
        raise ApiError(HTTPStatus.BAD_REQUEST, text, "BadRequestError", "suffix")
    if request.prompt_embeds is not None and request.echo:
        raise ApiError.bad_request("Echo is unsupported with prompt embeds.")
    if request.prompt_embeds is not None and request.prompt_logprobs is not None:
        raise ApiError.bad_request("prompt_logprobs is not compatible with prompt embeds.")


def _suffix_refusal(request: "CompletionRequest") -> str | None:
    prompt = request.prompt
    if request.echo:
        return "Echo is unsupported with suffix."
    if request.prompt_embeds is not None:
        return "suffix is not supported with prompt_embeds"
    if request.truncate_prompt_tokens is not None:
        return "suffix is not supported with truncate_prompt_tokens"
    if prompt == []:
        return None
    if isinstance(prompt, list) and not isinstance(prompt[0], str):
        return "suffix requires text prompt input for FIM completion rendering"
    return "suffix is only supported for models with FIM completion rendering"


def completion_prompts(request: "CompletionRequest") -> list[str | list[int]]:
    """The prompts of a completion request, one for each set of choices. Raises ApiError."""
    prompt: Any = request.prompt
    if request.prompt_embeds is not None and request.prompt_embeds != []:
        raise ApiError.bad_request("You must set `--enable-prompt-embeds` to input `prompt_embeds`.", "prompt_embeds")
    if isinstance(prompt, str):
        return [prompt]
    if not prompt:
        raise ApiError.bad_request("You must pass at least one prompt", "prompt")
    return [prompt] if isinstance(prompt[0], int) else list(prompt)


def _tokenized(request: "Request", prompt: str | list[int], tokenizer: Tokenizer, limits: Limits) -> TokenizedPrompt:
    if isinstance(prompt, str):
        text: str | None = prompt
        try:
            ids = tokenizer.encode(prompt, request.add_special_tokens)
        except TokenizerError as e:
            raise ApiError.bad_request(str(e)) from None
    else:
        text, ids = None, prompt
        if request.echo:
            _check_decodable(ids, tokenizer)
    keep = request.truncate_prompt_tokens
    if keep is None:
        check_tokens(len(ids), text is not None, limits)
        return TokenizedPrompt(ids, text)
    if keep < 0:
        keep = limits.max_model_len - 1  # leaves room for one token
    return TokenizedPrompt(truncated(ids, keep, request.truncation_side), text)


def _check_decodable(ids: list[int], tokenizer: Tokenizer) -> None:
    """An echoed prompt must have a text: vLLM decodes the ids before it looks at anything else."""
    if ids and max(ids) > INT64_MAX:
        raise ApiError.bad_request("Python int too large to convert to C long")
    try:
        tokenizer.decode(ids, skip_special_tokens=False)
    except TokenizerError as e:
        raise ApiError.bad_request(str(e)) from None


def truncated(ids: list[int], keep: int, side: str | None) -> list[int]:
    """The first `keep` tokens for side "right", the last ones otherwise."""
    if len(ids) <= keep:
        return ids
    return ids[:keep] if side == "right" else ids[len(ids) - keep :]


def check_characters(length: int, limits: Limits) -> None:
    longest = limits.max_model_len
    bound = longest * limits.max_chars_per_token
    if length > bound:
        text = (
            f"{_context(longest)} {length} characters (more than {bound} characters, which is the upper bound "
            f"for {longest} input tokens). Please reduce the length of the input prompt."
        )
        raise ApiError.bad_request(text, "input_text", length)


def check_tokens(count: int, from_text: bool, limits: Limits) -> None:
    """vLLM stops tokenizing a text one token after the limit, so that number is a lower bound for it."""
    if count > limits.max_model_len:
        raise too_many_tokens(count, from_text, limits.max_model_len)


def too_many_tokens(count: int, from_text: bool, longest: int) -> ApiError:
    """400 for a prompt of more than `longest` tokens."""
    seen = longest + 1 if from_text else count
    told = f"at least {seen}" if seen == longest + 1 else str(seen)
    text = (
        f"{_context(longest)} {told} input tokens, which exceeds this limit even without any output tokens. "
        "Please reduce the length of the input prompt."
    )
    return ApiError.bad_request(text, "input_tokens", seen)


def _context(longest: int) -> str:
    return f"This model's maximum context length is {longest} tokens. However, your prompt contains"
