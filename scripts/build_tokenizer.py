"""Build the embedded tokenizer and the corpus of vllm_mock/data from the packages of tokenizer_sources.py.

    mkdir sources && cd sources
    apt-get download r-cran-janeaustenr=1.0.0-1 wordnet-base=1:3.0-37 dict-jargon=4.4.7-3.1
    pip download --no-deps --no-binary :all: django==5.2.1
    cd .. && python scripts/build_tokenizer.py sources

The same packages and the same version of `tokenizers` give the same files, byte for byte.
"""

import json
import re
import sys
from array import array
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from tokenizer_sources import austen_novels, django_files, jargon_file, verify, wordnet_definitions
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

DATA = Path(__file__).parent.parent / "vllm_mock" / "data"
# Fits the ids of the corpus into 16 bits, and the file into a megabyte.
VOCABULARY_SIZE = 16_384
BOS, EOS = "<s>", "</s>"
SPECIAL = (
    BOS, EOS, "<pad>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>",
    "<|image|>", "<|audio|>", "<|video|>",
)  # fmt: skip
# Not special: the parsers of reasoning and of tool calls must see them in the text.
MARKUP = ("<think>", "</think>", "<tool_call>", "</tool_call>")
CORPUS_TITLE = "Pride And Prejudice"
CORPUS_CHARACTERS = 300_000


def train(texts: Iterable[str]) -> Tokenizer:
    """Train a byte-level BPE in which any text has an exact round trip."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE - len(SPECIAL) - len(MARKUP),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=16,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in MARKUP])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A",
        pair=f"{BOS} $A {BOS} $B",
        special_tokens=[(BOS, tokenizer.token_to_id(BOS))],
    )
    return tokenizer


def corpus(novel: str) -> str:
    """The first chapters as running text: no headings, no marks of emphasis, whole paragraphs."""
    paragraphs = [text for text in novel.split("\n\n") if not re.fullmatch(r"By Jane Austen|Chapter \d+", text)]
    kept: list[str] = []
    while sum(map(len, kept)) < CORPUS_CHARACTERS:
        kept.append(paragraphs[len(kept)].replace("_", ""))
    return "\n\n".join(kept) + "\n"


def write(tokenizer: Tokenizer, text: str) -> None:
    folder = DATA / "tokenizer"
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    names = {"bos_token": BOS, "eos_token": EOS, "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names, indent=1) + "\n")
    (DATA / "corpus.txt").write_text(text, encoding="utf-8")
    ids = array("H", tokenizer.encode(text, add_special_tokens=False).ids)
    if sys.byteorder == "big":
        ids.byteswap()
    (DATA / "corpus.u16").write_bytes(ids.tobytes())


def main(sources: Path) -> None:
    verify(sources)
    novels = austen_novels(sources)
    texts = chain(novels.values(), wordnet_definitions(sources), [jargon_file(sources)], django_files(sources))
    write(train(texts), corpus(novels[CORPUS_TITLE]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
