"""Text to token ids and back: the embedded byte-level BPE, a tokenizer.json, or a Hugging Face id.

Nothing heavy is imported before a tokenizer is loaded.
"""

from vllm_mock.tokenizer.base import Tokenizer
from vllm_mock.tokenizer.corpus import corpus_ids, corpus_text
from vllm_mock.tokenizer.errors import ChatTemplateError, TokenizerError
from vllm_mock.tokenizer.loading import load_tokenizer

__all__ = ["ChatTemplateError", "Tokenizer", "TokenizerError", "corpus_ids", "corpus_text", "load_tokenizer"]
