"""A tokenizer on the `tokenizers` package (Rust), which reads tokenizer.json."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm_mock.tokenizer import byte_level
from vllm_mock.tokenizer.base import Tokenizer, Vocabulary
from vllm_mock.tokenizer.chunk_cache import LONG, ChunkCache, can_be_chunked, encode_apart
from vllm_mock.tokenizer.config import TokenizerConfig, read_config, token_text
from vllm_mock.tokenizer.errors import TokenizerError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

# What vLLM answers for a prompt that is not valid Unicode.
NOT_UNICODE = "TextEncodeInput must be Union[TextInputSequence, Tuple[InputSequence, InputSequence]]"
# The end-of-sequence token of tokenizers that do not name one (BERT has only separators).
EOS_SUBSTITUTES = ("eos_token", "sep_token", "pad_token")
BYTE_FALLBACK = re.compile(r"<0x([0-9A-F]{2})>")


class FastTokenizer(Tokenizer):
    """Wraps a `tokenizers.Tokenizer`. Raises ValueError when it has no end-of-sequence token."""

    def __init__(self, backend: "Backend", config: TokenizerConfig) -> None:
        _declare(backend, config)
        super().__init__(_vocabulary(backend, config))
        self._backend = backend
        self._decode = backend.decode
        self._chunks = ChunkCache(backend) if can_be_chunked(backend) else None

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        try:
            if self._chunks is None:
                if len(text) > LONG:
                    return encode_apart(self._backend, text, add_special_tokens)
                return self._backend.encode(text, None, False, add_special_tokens).ids
            return self._chunks.encode(text, add_special_tokens)
        except TypeError as error:
            raise TokenizerError(NOT_UNICODE) from error

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        try:
            return self._decode(ids, skip_special_tokens)
        except OverflowError as error:
            raise TokenizerError(str(error)) from error

    @cached_property
    def max_chars_per_token(self) -> int:
        # Cheaper than get_vocab(), which builds a dict: the server asks for this at its start.
        tokens = map(self._backend.id_to_token, range(self._size))
        return max(map(len, filter(None, tokens)))

    def _token(self, token_id: int) -> str:
        try:
            return self._backend.id_to_token(token_id) or ""
        except OverflowError:
            return ""

    def _token_bytes(self, token_id: int) -> bytes:
        token = self._token(token_id)
        if token_id in self.added_tokens:
            return token.encode()
        if "ByteLevel" in self._decoders:
            return byte_level.to_bytes(token)
        byte = BYTE_FALLBACK.fullmatch(token) if "ByteFallback" in self._decoders else None
        if byte:
            return bytes([int(byte[1], 16)])
        return self._text_inside(token_id).encode() if token else b""

    @cached_property
    def _decoders(self) -> frozenset[str]:
        decoder = self._backend.decoder
        return frozenset(_types(json.loads(decoder.__getstate__()))) if decoder else frozenset()


def load_folder(folder: Path) -> FastTokenizer:
    """Load a folder with tokenizer.json. Raises ValueError with one line when that cannot be done."""
    # Else the first batch starts threads for all cores.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Tokenizer as Backend

    config = read_config(folder)
    try:
        backend = Backend.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the package raises bare Exceptions
        raise ValueError(f"tokenizer.json cannot be read: {error}") from error
    # A prompt is never cut or filled up by the tokenizer: the server does that by its own rules.
    backend.no_truncation()
    backend.no_padding()
    return FastTokenizer(backend, config)


def _declare(backend: "Backend", config: TokenizerConfig) -> None:
    """Add what only tokenizer_config.json declares, and make the named tokens special."""
    from tokenizers import AddedToken

    known = backend.get_added_tokens_decoder()
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    for token_id, token in sorted(config.added_tokens.items()):
        text = token_text(token)
        if token_id not in known and text is not None:
            added = AddedToken(text, **{flag: bool(token[flag]) for flag in flags if flag in token})
            (backend.add_special_tokens if token.get("special") else backend.add_tokens)([added])
    special = {token.content for token in backend.get_added_tokens_decoder().values() if token.special}
    missing = [text for text in config.special_tokens.values() if text not in special]
    if missing:
        backend.add_special_tokens(missing)


def _vocabulary(backend: "Backend", config: TokenizerConfig) -> Vocabulary:
    added = backend.get_added_tokens_decoder()
    size = backend.get_vocab_size(with_added_tokens=True)
    bos = config.special_tokens.get("bos_token")
    return Vocabulary(
        size=max(size, max(added, default=0) + 1),
        vocab_size=config.vocab_size or size,
        eos_token_id=_eos_token_id(backend, config),
        bos_token_id=None if bos is None else backend.token_to_id(bos),
        all_special_ids=frozenset(token_id for token_id, token in added.items() if token.special),
        special_tokens=config.special_tokens,
        added_tokens={token_id: token.content for token_id, token in sorted(added.items())},
        chat_templates=config.chat_templates,
    )


def _eos_token_id(backend: "Backend", config: TokenizerConfig) -> int:
    named = [config.special_tokens[name] for name in EOS_SUBSTITUTES if name in config.special_tokens]
    if "eos_token" not in config.special_tokens and config.eos_token_id is not None:
        return config.eos_token_id
    token_id = backend.token_to_id(named[0]) if named else None
    if token_id is None:
        raise ValueError("it names no end-of-sequence token (eos_token in tokenizer_config.json)")
    return token_id


def _types(decoder: Mapping[str, Any]) -> Iterator[str]:
    yield decoder["type"]
    for inner in decoder.get("decoders", ()):
        yield from _types(inner)
