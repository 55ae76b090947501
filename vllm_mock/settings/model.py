"""Rows of the table: the model, what it says, chat, and LoRA adapters."""

from typing import Any

from .flag import Environment, from_environment, setting
from .kinds import (
    SWITCH,
    TEXT,
    Kind,
    choice,
    human_or_auto,
    integer,
    json_object,
    many,
    number,
    optional,
)
from .structures import GENERATION_DEFAULTS, LORA_MODULES, STRUCTURED_OUTPUTS, LoRAModule

DEFAULT_MODEL = "llama2-7b"
DEFAULT_MAX_MODEL_LEN = 16384
_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


def _lora_rank(text: str) -> int:
    if (rank := int(text)) not in _LORA_RANKS:
        raise ValueError
    return rank


LORA_RANK = Kind(lambda words: _lora_rank(words[0]), f"one of {', '.join(map(str, _LORA_RANKS))}", "N")
# vLLM's --hf-token without a value means the token of a login; here it leaves the other sources of a token.
HF_TOKEN = TEXT._replace(takes="maybe", metavar="TOKEN")


class ModelSettings:
    """Model"""

    model: str = setting(
        DEFAULT_MODEL,
        TEXT,
        "Name or path of the model; also the positional argument, which wins.",
        environment=(Environment("MODEL_NAME"),),
    )
    served_model_name: list[str] = setting(
        [],
        many(optional(TEXT)),
        "Names that requests may use; the first is in responses and metrics.",
        default_text="the model",
    )
    tokenizer: str | None = setting(
        None,
        optional(TEXT),
        "Folder with tokenizer.json, or a Hugging Face id.",
        default_text="an embedded byte-level BPE",
    )
    tokenizer_revision: str | None = setting(
        None, optional(TEXT), "Branch, tag or commit of a Hugging Face tokenizer.", default_text="--revision"
    )
    revision: str | None = setting(None, optional(TEXT), "Branch, tag or commit of the model, for its tokenizer.")
    trust_remote_code: bool = setting(False, SWITCH, "Let a Hugging Face tokenizer run its own code.")
    hf_token: str | None = setting(
        None,
        HF_TOKEN,
        "Token for Hugging Face.",
        environment=(Environment("HF_TOKEN"),),
        default_text="huggingface_token of config.json",
        secret=True,
    )
    quantization: str | None = setting(
        None,
        optional(TEXT),
        "Type of the weights, such as fp8 or awq; counts in a simulation.",
        also=("-q",),
        default_text="that of the model's config.json or name",
    )
    max_model_len: int = setting(
        DEFAULT_MAX_MODEL_LEN,
        human_or_auto(DEFAULT_MAX_MODEL_LEN, unit="tokens"),
        "Most tokens of prompt and output together; auto is the default.",
    )
    seed: int = setting(0, integer(), "Seed of the sequence of answers and of random latencies.")
    skip_model_name_validation: bool = from_environment(
        False, SWITCH, "Answer requests for any model name.", "VLLM_SKIP_MODEL_NAME_VALIDATION"
    )


class OutputSettings:
    """Output"""

    mode: str = setting("random", choice("random", "echo"), "What is said: sentences, or the last user message again.")
    output_tokens_mean: float = setting(
        128.0, number(1, unit="tokens"), "Mean length of an answer that no request parameter bounds."
    )
    output_tokens_std_dev: float = setting(64.0, number(0, unit="tokens"), "Standard deviation of that length.")
    override_generation_config: dict[str, Any] = setting(
        {}, GENERATION_DEFAULTS, "Defaults of sampling parameters: temperature and max_new_tokens act."
    )
    structured_outputs_config: dict[str, Any] = setting(
        {},
        STRUCTURED_OUTPUTS,
        "How structured output looks: disable_any_whitespace, disable_additional_properties, backend.",
    )
    max_logprobs: int = setting(20, integer(-1), "Most logprobs a request may ask for; -1 is no limit.")
    stream_interval: int = setting(1, integer(1, unit="tokens"), "Tokens in each chunk of a stream.")
    return_tokens_as_token_ids: bool = setting(False, SWITCH, "Show tokens in logprobs as token_id:N.")
    enable_prompt_tokens_details: bool = setting(False, SWITCH, "Report cached prompt tokens in usage.")
    enable_force_include_usage: bool = setting(False, SWITCH, "Send usage with every stream.")
    enable_per_request_metrics: bool = setting(False, SWITCH, "Report a request's timings in its response.")
    fingerprint_mode: str = setting("full", choice("full", "hash", "custom", "none"), "Form of system_fingerprint.")
    fingerprint_value: str | None = setting(None, optional(TEXT), "The fingerprint of the mode custom.")
    max_n_sequences: int = from_environment(16384, integer(1), "Largest n of a request.", "VLLM_MAX_N_SEQUENCES")
    max_stop_strings: int = from_environment(4, integer(0), "Most stop strings of a request.", "VLLM_MAX_STOP_STRINGS")
    max_completion_prompts: int = from_environment(
        1024, integer(1), "Most prompts in one completions request.", "VLLM_MAX_COMPLETION_PROMPTS"
    )
    max_audio_clip_filesize_mb: int = from_environment(
        25, integer(1, unit="MiB"), "Largest recording that is transcribed.", "VLLM_MAX_AUDIO_CLIP_FILESIZE_MB"
    )
    max_audio_decode_duration_s: int = from_environment(
        600, integer(1, unit="seconds"), "Longest recording that is transcribed.", "VLLM_MAX_AUDIO_DECODE_DURATION_S"
    )


class ChatSettings:
    """Chat"""

    chat_template: str | None = setting(
        None,
        optional(TEXT),
        "Jinja template of a chat: a file, or the template itself.",
        default_text="the tokenizer's",
    )
    chat_template_content_format: str = setting(
        "auto", choice("auto", "string", "openai"), "How the template sees contents: as text or as parts."
    )
    trust_request_chat_template: bool = setting(False, SWITCH, "Use the chat_template of a request.")
    trust_request_mm_kwargs: bool = setting(False, SWITCH, "Use the mm_processor_kwargs of a request.")
    default_chat_template_kwargs: dict[str, Any] = setting(
        {}, json_object(), "Arguments of the template that a request may override."
    )
    response_role: str = setting("assistant", TEXT, "Role in the answers.")
    enable_auto_tool_choice: bool = setting(
        False, SWITCH, "Let the model call tools by itself; needs --tool-call-parser."
    )
    tool_call_parser: str | None = setting(
        None, optional(TEXT), "Format of tool calls, such as hermes; needs --enable-auto-tool-choice."
    )
    exclude_tools_when_tool_choice_none: bool = setting(
        False, SWITCH, "Do not show the tools to the chat template when tool_choice is none."
    )
    tool_parser_plugin: str = setting(
        "", TEXT, "Accept any --tool-call-parser; one that vLLM does not have reads as hermes.", default_text="none"
    )
    reasoning_parser: str = setting("", TEXT, "Format of reasoning, such as deepseek_r1.", default_text="none")
    anthropic_disabled_thinking_effort: str = setting(
        "auto",
        choice("auto", "none", "low", "medium", "high", "xhigh", "max"),
        "Effort of a message with thinking disabled; auto is none if the template knows enable_thinking, else low.",
    )
    reasoning_parser_plugin: str = setting(
        "", TEXT, "Accept any --reasoning-parser; one that vLLM does not have reads as qwen3.", default_text="none"
    )
    enable_tokenizer_info_endpoint: bool = setting(False, SWITCH, "Serve GET /tokenizer_info.")


class LoRASettings:
    """LoRA"""

    enable_lora: bool = setting(False, SWITCH, "Report LoRA in the metrics; its routes are always on.")
    lora_modules: list[LoRAModule] = setting([], LORA_MODULES, "Adapters that are loaded at start.")
    max_loras: int = setting(1, integer(1), "Adapters that can be in one batch.")
    max_cpu_loras: int | None = setting(
        None, optional(integer(1)), "Adapters kept in memory; only checked.", default_text="--max-loras"
    )
    max_lora_rank: int = setting(16, LORA_RANK, "Largest rank of an adapter; only checked.")
