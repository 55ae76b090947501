"""Tokenizers that only `transformers` can load: Hugging Face ids, and folders without tokenizer.json."""

import textwrap
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from vllm_mock.tokenizer.base import Tokenizer, Vocabulary
from vllm_mock.tokenizer.config import TokenizerConfig
from vllm_mock.tokenizer.errors import TokenizerError
from vllm_mock.tokenizer.fast import FastTokenizer

# Characters of a reason to show: some of them list every tokenizer there is.
MAX_REASON = 300


def load_hugging_face(
    name: str, *, token: str | None = None, revision: str | None = None, trust_remote_code: bool = False
) -> Tokenizer:
    """Load by Hugging Face id or path. Raises ValueError with one line when that cannot be done."""
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise ValueError(
            "it is no folder with tokenizer.json, and Hugging Face ids need `pip install transformers`"
        ) from error
    try:
        loaded = AutoTokenizer.from_pretrained(
            name, token=token, revision=revision, trust_remote_code=trust_remote_code
        )
    except Exception as error:  # no network, no licence, no file, a broken file
        raise ValueError(_one_line(error)) from error
    backend = getattr(loaded, "backend_tokenizer", None)
    if backend is None:
        return SlowTokenizer(loaded)
    return FastTokenizer(backend, _config(loaded))


def _one_line(error: Exception) -> str:
    words = str(error).split() or [type(error).__name__]
    return textwrap.shorten(" ".join(words), MAX_REASON, placeholder=" ...")


def _config(loaded: Any) -> TokenizerConfig:
    template = loaded.chat_template or {}
    return TokenizerConfig(
        special_tokens={
            name: str(token) for name, token in loaded.special_tokens_map.items() if isinstance(token, str)
        },
        chat_templates={"default": template} if isinstance(template, str) else template,
    )


class SlowTokenizer(Tokenizer):
    """A tokenizer written in Python, through the interface of `transformers`."""

    def __init__(self, loaded: Any) -> None:
        config = _config(loaded)
        if loaded.eos_token_id is None:
            raise ValueError("it names no end-of-sequence token")
        super().__init__(
            Vocabulary(
                size=len(loaded),
                vocab_size=len(loaded),
                eos_token_id=loaded.eos_token_id,
                bos_token_id=loaded.bos_token_id,
                all_special_ids=frozenset(loaded.all_special_ids),
                special_tokens=config.special_tokens,
                added_tokens={key: str(token) for key, token in loaded.added_tokens_decoder.items()},
                chat_templates=config.chat_templates,
            )
        )
        self._loaded = loaded

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        try:
            return self._loaded.encode(text, add_special_tokens=add_special_tokens)
        except (TypeError, UnicodeError) as error:
            raise TokenizerError(str(error)) from error

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        known = [token_id for token_id in ids if 0 <= token_id < len(self._loaded)]
        return self._loaded.decode(known, skip_special_tokens=skip_special_tokens)

    @cached_property
    def max_chars_per_token(self) -> int:
        return max(map(len, self._loaded.get_vocab()))

    def _token(self, token_id: int) -> str:
        known = 0 <= token_id < len(self._loaded)
        return (self._loaded.convert_ids_to_tokens(token_id) or "") if known else ""

    def _token_bytes(self, token_id: int) -> bytes:
        return (self.added_tokens.get(token_id) or self._text_inside(token_id)).encode()

    def _piece(self, token_id: int) -> str | None:
        # Only text can be asked for, in which a part of a character shows as U+FFFD.
        piece = super()._piece(token_id)
        return None if piece is None or "\ufffd" in piece else piece
