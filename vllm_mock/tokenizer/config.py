"""What stands beside tokenizer.json: named special tokens, chat templates, the model's vocabulary size."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True)
class TokenizerConfig:
    """`special_tokens`: text by name (bos_token, …), as chat templates see them. `chat_templates`: by name.

    `added_tokens`: those that tokenizer_config.json declares, by id. `vocab_size`: the model's (config.json).
    `eos_token_id`: the model's, used when the tokenizer names no end-of-sequence token.
    """

    special_tokens: Mapping[str, str] = field(default_factory=dict)
    chat_templates: Mapping[str, str] = field(default_factory=dict)
    added_tokens: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    vocab_size: int | None = None
    eos_token_id: int | None = None


def read_config(folder: Path) -> TokenizerConfig:
    """Read a Hugging Face model folder. Missing files are as if empty; a broken one raises ValueError."""
    try:
        return _read_config(folder)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"its configuration files are not as they should be: {error!r}") from error


def _read_config(folder: Path) -> TokenizerConfig:
    tokenizer_config = _read_json(folder / "tokenizer_config.json")
    model = _read_json(folder / "config.json")
    return TokenizerConfig(
        special_tokens=_special_tokens(_read_json(folder / "special_tokens_map.json") | tokenizer_config),
        chat_templates=_chat_templates(folder, tokenizer_config),
        added_tokens={
            int(token_id): token for token_id, token in (tokenizer_config.get("added_tokens_decoder") or {}).items()
        },
        vocab_size=model.get("vocab_size") or (model.get("text_config") or {}).get("vocab_size"),
        eos_token_id=_eos_token_id(_read_json(folder / "generation_config.json"), model),
    )


def token_text(token: Any) -> str | None:
    """The text of a token written as a string or as a serialized AddedToken ({"content": …})."""
    if isinstance(token, Mapping):
        token = token.get("content")
    return token if isinstance(token, str) else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is not a JSON object")
    return content


def _special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    texts = {name: token_text(config.get(name)) for name in NAMED_TOKENS}
    return {name: text for name, text in texts.items() if text is not None}


def _chat_templates(folder: Path, tokenizer_config: Mapping[str, Any]) -> dict[str, str]:
    """Templates by name; a file chat_template.jinja wins over the entry in tokenizer_config.json."""
    declared = tokenizer_config.get("chat_template")
    if isinstance(declared, str):
        templates = {"default": declared}
    else:
        templates = {entry["name"]: entry["template"] for entry in declared or ()}
    default = folder / "chat_template.jinja"
    if default.is_file():
        templates["default"] = default.read_text(encoding="utf-8")
    for file in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        templates[file.stem] = file.read_text(encoding="utf-8")
    return templates


def _eos_token_id(*configs: Mapping[str, Any]) -> int | None:
    for config in configs:
        value = config.get("eos_token_id")
        if isinstance(value, list):
            value = value[0] if value else None
        if isinstance(value, int):
            return value
    return None
