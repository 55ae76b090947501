"""What the tests of the tokenizer share."""

import json
from functools import cache
from pathlib import Path

from settings_support import load

from vllm_mock.tokenizer import Tokenizer, load_tokenizer

CHAR_TOKENIZER = Path(__file__).parent / "fixtures" / "char_tokenizer"


@cache
def embedded() -> Tokenizer:
    return load_tokenizer(load())


@cache
def characters() -> Tokenizer:
    return from_folder(CHAR_TOKENIZER)


def from_folder(folder: Path, *flags: str) -> Tokenizer:
    return load_tokenizer(load("--tokenizer", str(folder), *flags))


def write_folder(folder: Path, backend, **files: object) -> Path:
    """A model folder: tokenizer.json of a `tokenizers.Tokenizer`, and NAME.json for each further keyword."""
    backend.save(str(folder / "tokenizer.json"))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def turn(role: str, content: object, **fields: object) -> dict[str, object]:
    return {"role": role, "content": content, **fields}
