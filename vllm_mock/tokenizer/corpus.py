"""The prose that generated answers run on from (vllm_mock/data/README.md says where it comes from)."""

import sys
from array import array
from collections.abc import Sequence
from pathlib import Path

from vllm_mock.tokenizer.base import Tokenizer

DATA = Path(__file__).parent.parent / "data"
# Encoding the whole text costs some 100 ms, too much for a start; the embedded tokenizer's ids are stored.
EXCERPT_CHARACTERS = 30_000


def corpus_text() -> str:
    """About 300,000 characters of English prose in ASCII, paragraphs separated by an empty line."""
    return (DATA / "corpus.txt").read_text(encoding="utf-8")


def corpus_ids(tokenizer: Tokenizer) -> Sequence[int]:
    """Token ids of the whole corpus for the embedded tokenizer, of its first paragraphs for another one."""
    if tokenizer.embedded:
        return _stored_ids()
    excerpt = corpus_text()[:EXCERPT_CHARACTERS].rpartition("\n\n")[0]
    return tokenizer.encode(excerpt, add_special_tokens=False)


def _stored_ids() -> Sequence[int]:
    ids = array("H", (DATA / "corpus.u16").read_bytes())
    if sys.byteorder == "big":
        ids.byteswap()
    return ids
