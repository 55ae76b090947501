"""Write the character-level tokenizer of the contract tests, in which one byte is one token.

Usage: python scripts/build_char_tokenizer.py [FOLDER]   (default tests/fixtures/char_tokenizer)

Ids 0-255 are the bytes in GPT-2's order, 256-263 the added tokens; the "model" has a vocabulary of 320, so
that ids without a token exist.
"""

import json
import sys
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from vllm_mock.tokenizer.byte_level import byte_to_char

FOLDER = Path(__file__).parent.parent / "tests" / "fixtures" / "char_tokenizer"
SPECIAL = ("<s>", "</s>", "<|user|>", "<|assistant|>")
MARKUP = ("<think>", "</think>", "<tool_call>", "</tool_call>")
CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ 'user' if m['role']!='assistant' else 'assistant' }}|>{{ m['content'] }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def char_tokenizer() -> Tokenizer:
    """A byte-level BPE without merges."""
    vocabulary = {char: index for index, char in enumerate(byte_to_char().values())}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in MARKUP])
    return tokenizer


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    char_tokenizer().save(str(folder / "tokenizer.json"), pretty=False)
    files = {
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<s>",
            "eos_token": "</s>",
            "model_max_length": 2048,
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
        },
        "config.json": {"vocab_size": 320, "bos_token_id": 256, "eos_token_id": 257},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
