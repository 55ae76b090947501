"""Turns token ids into the text that each of them adds, the way an incremental decoder streams it.

A character whose UTF-8 bytes are spread over several tokens appears with the last of them; bytes that never
complete a character appear, as replacement characters, only together with later complete text, and never if
the sequence ends there (observed on vLLM 0.33.0).
"""

import codecs
from collections.abc import Sequence

from vllm_mock.tokenizer import Tokenizer

REPLACEMENT = "\ufffd"
# What decoders of WordPiece or SentencePiece vocabularies treat in their own way: leading spaces, spaces
# before punctuation and apostrophes, control characters, characters outside ASCII.
_DECODER_PROBE = " A probe , it 's  spaced\n\tand caf\u00e9 \u20ac \U0001f600 ."


class Detokenizer:
    """Incremental detokenization for one tokenizer; safe to share between threads."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._special_ids = tokenizer.all_special_ids
        self._piece = tokenizer.piece
        probe = tokenizer.encode(_DECODER_PROBE, add_special_tokens=False)
        ids = [*probe, tokenizer.eos_token_id, *probe]
        joined = b"".join(map(tokenizer.token_bytes, ids)).decode(errors="replace")
        decoded = tokenizer.decode(ids, skip_special_tokens=False)
        # SentencePiece decoders drop the space that they put before the first word; others change more.
        self._drops_first_space = joined == " " + decoded
        self._bytes_concatenate = joined == decoded or self._drops_first_space

    def deltas(self, token_ids: Sequence[int], skip_special_tokens: bool = True) -> list[str]:
        """Return the text increment of each token, "" where it completes nothing or is a skipped special."""
        if not self._bytes_concatenate:
            return self._window_deltas(token_ids, skip_special_tokens)
        skipped = self._special_ids if skip_special_tokens else frozenset()
        deltas = self._joint_pieces(token_ids) or self._byte_deltas(token_ids, skipped)
        if self._drops_first_space:
            self._drop_first_space(token_ids, skipped, deltas)
        return deltas

    def token_texts(self, token_ids: Sequence[int]) -> list[str]:
        """Return the text that each token stands for, as log probabilities show it, special tokens included.

        A character of several tokens shows with the last of them; a replacement character never does.
        """
        return self._joint_pieces(token_ids) or self._byte_texts(token_ids)

    def _joint_pieces(self, token_ids: Sequence[int]) -> list[str] | None:
        """Return the tokens' own texts, or None if one is special or a part of a character."""
        pieces: list = list(map(self._piece, token_ids))
        return None if None in pieces or REPLACEMENT in "".join(pieces) else pieces

    def _byte_texts(self, token_ids: Sequence[int]) -> list[str]:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        texts = []
        for token_bytes in map(self._tokenizer.token_bytes, token_ids):
            text = decoder.decode(token_bytes)
            try:
                text = token_bytes.decode()
            except UnicodeDecodeError:
                if decoder.getstate()[0]:
                    text = ""
            texts.append("" if text.endswith(REPLACEMENT) else text)
        return texts

    def _drop_first_space(self, token_ids: Sequence[int], skipped: frozenset[int], deltas: list[str]) -> None:
        first = next((i for i, token_id in enumerate(token_ids) if token_id not in skipped), None)
        if first is not None:
            deltas[first] = deltas[first].removeprefix(" ")

    def _byte_deltas(self, token_ids: Sequence[int], skipped: frozenset[int]) -> list[str]:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        token_bytes = self._tokenizer.token_bytes
        held = ""
        deltas = []
        for token_id in token_ids:
            if token_id in skipped:
                deltas.append("")
                continue
            text = decoder.decode(token_bytes(token_id))
            if decoder.getstate()[0] or text.endswith(REPLACEMENT):
                held += text
                deltas.append("")
            else:
                deltas.append(held + text)
                held = ""
        return deltas

    def _window_deltas(self, token_ids: Sequence[int], skip_special_tokens: bool) -> list[str]:
        """Decode a sliding window twice per token: right whatever a decoder does at the start of a text."""
        deltas = []
        start = read = 0
        for end in range(1, len(token_ids) + 1):
            known = self._tokenizer.decode(token_ids[start:read], skip_special_tokens)
            text = self._tokenizer.decode(token_ids[start:end], skip_special_tokens)
            if len(text) > len(known) and not text.endswith(REPLACEMENT):
                deltas.append(text[len(known) :])
                start, read = read, end
            else:
                deltas.append("")
        return deltas
