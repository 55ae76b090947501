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
        self._bytes_concatenate = self._check_that_bytes_concatenate()

    def _check_that_bytes_concatenate(self) -> bool:
        ids = self._tokenizer.encode(_DECODER_PROBE, add_special_tokens=False)
        joined = b"".join(map(self._tokenizer.token_bytes, ids)).decode(errors="replace")
        return joined == self._tokenizer.decode(ids, skip_special_tokens=True)

    def deltas(self, token_ids: Sequence[int], skip_special_tokens: bool = True) -> list[str]:
        """Return the text increment of each token, "" where it completes nothing or is a skipped special."""
        if not self._bytes_concatenate:
            return self._window_deltas(token_ids, skip_special_tokens)
        pieces = list(map(self._piece, token_ids))
        if None not in pieces and REPLACEMENT not in "".join(pieces):  # type: ignore[arg-type]
            return pieces  # type: ignore[return-value]
        return self._byte_deltas(token_ids, self._special_ids if skip_special_tokens else frozenset())

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
