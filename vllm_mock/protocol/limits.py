"""What the server can and may do, as far as requests are checked against it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Limits:
    """`max_model_len` in tokens (prompt and output together); `vocab_size` with the added tokens;
    `max_chars_per_token`: length of the longest token; `max_logprobs`: -1 means the whole vocabulary.
    `model` is the name in refusals. `tool_call_parser` is None, too, where vLLM does not load the parser.
    `disabled_thinking_effort`: that of an Anthropic message with thinking disabled. The rest are vLLM's flags.
    """

    model: str
    max_model_len: int
    vocab_size: int
    max_chars_per_token: int
    max_logprobs: int = 20
    max_sequences: int = 16384
    data_parallel_size: int = 1
    trust_request_chat_template: bool = False
    trust_request_mm_kwargs: bool = False
    enable_auto_tool_choice: bool = False
    tool_call_parser: str | None = None
    exclude_tools_when_tool_choice_none: bool = False
    reasoning_parser: str = ""
    structured_outputs_backend: str = "auto"
    chat_template_content_format: str = "auto"
    disabled_thinking_effort: str = "none"
    default_chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def logprobs_allowed(self) -> int:
        """The most logprobs per token that may be asked for."""
        return self.vocab_size if self.max_logprobs == -1 else self.max_logprobs
