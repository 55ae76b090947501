"""vLLM's checks of a validated request up to the engine, in its order (see the package's docstring)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vllm_mock.protocol import chat_template, prompts, sampling, trust
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.limits import Limits
from vllm_mock.protocol.tokenize import TokenizeChatRequest, TokenizeCompletionRequest
from vllm_mock.protocol.tools import check_named_tool, check_tool_flags
from vllm_mock.tokenizer import Tokenizer, TokenizerError

if TYPE_CHECKING:
    from vllm_mock.protocol.chat import ChatCompletionRequest
    from vllm_mock.protocol.completions import CompletionRequest
    from vllm_mock.protocol.sampling import Request


@dataclass(slots=True)
class CheckedPrompt:
    """A prompt that may go to the engine. `text` is None when the request gave token ids; `max_tokens` is the
    most tokens to generate.
    """

    token_ids: list[int]
    text: str | None
    max_tokens: int


def check_chat(request: "ChatCompletionRequest", tokenizer: Tokenizer, limits: Limits) -> CheckedPrompt:
    """Everything between the model's name and the engine. Raises ApiError."""
    prompt = chat_prompt(request, tokenizer, limits)
    request.check_prompt(len(prompt.token_ids), limits)
    return _checked(request, [prompt], limits)[0]


def chat_prompt(request: "ChatCompletionRequest", tokenizer: Tokenizer, limits: Limits) -> prompts.TokenizedPrompt:
    """The prompt of a chat, before the values of the sampling parameters are looked at. Raises ApiError."""
    check_tool_flags(request, limits)
    chat_template.check_trust(request, limits)
    sampling.check_asked_lengths(request, limits)
    text = chat_template.render(request, tokenizer, limits)
    prompt = prompts.tokenize_prompts(request, [text], tokenizer, limits)[0]
    check_named_tool(request, limits)
    return prompt


def check_completion(request: "CompletionRequest", tokenizer: Tokenizer, limits: Limits) -> list[CheckedPrompt]:
    """Everything between the model's name and the engine, one result per prompt. Raises ApiError."""
    prompts.check_supported(request)
    trust.check_media_arguments(request, limits)
    sampling.check_asked_lengths(request, limits)
    asked = prompts.completion_prompts(request)
    return _checked(request, prompts.tokenize_prompts(request, asked, tokenizer, limits), limits)


def _checked(request: "Request", tokenized: Sequence[prompts.TokenizedPrompt], limits: Limits) -> list[CheckedPrompt]:
    checked = []
    for prompt in tokenized:
        max_tokens = sampling.max_output_tokens(request, len(prompt.token_ids), limits)
        sampling.check_values(request, max_tokens, limits)
        checked.append(CheckedPrompt(prompt.token_ids, prompt.text, max_tokens))
    return checked


def tokenize(
    request: TokenizeCompletionRequest | TokenizeChatRequest, tokenizer: Tokenizer, limits: Limits
) -> list[int]:
    """The token ids that /tokenize answers; no length is too long here. Raises ApiError."""
    if isinstance(request, TokenizeChatRequest):
        chat_template.check_trust(request, limits)
        text = chat_template.render(request, tokenizer, limits)
    else:
        trust.check_media_arguments(request, limits)
        text = request.prompt
    try:
        return tokenizer.encode(text, request.add_special_tokens)
    except TokenizerError as e:
        raise ApiError.bad_request(str(e)) from None


def detokenize(token_ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """The text that /detokenize answers. Raises ApiError."""
    try:
        return tokenizer.decode(token_ids, skip_special_tokens=False)
    except TokenizerError as e:
        raise ApiError.bad_request(str(e)) from None
