"""The script that builds the embedded tokenizer: its readers on small data, and a whole build of a tiny one."""

import struct
import sys
import zlib
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"


@pytest.fixture
def scripts(monkeypatch):
    """The modules build_tokenizer and tokenizer_sources."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import build_tokenizer
    import tokenizer_sources

    yield build_tokenizer, tokenizer_sources
    for name in ("build_tokenizer", "tokenizer_sources"):
        sys.modules.pop(name)


def r_character_vector(*strings: str) -> bytes:
    header = b"X\n" + struct.pack(">IIII", 3, 0x040201, 0x030500, 5) + b"UTF-8"
    body = b"".join(struct.pack(">II", 0x40009, len(text.encode())) + text.encode() for text in strings)
    return header + struct.pack(">II", 16, len(strings)) + body


def test_strings_of_an_r_database(scripts):
    _, sources = scripts
    chunks = [r_character_vector("EMMA", "", "naïve"), r_character_vector()]
    database = b"".join(struct.pack(">I", len(chunk)) + zlib.compress(chunk) for chunk in chunks)
    assert [sources._r_strings(chunk) for chunk in sources._r_lazy_load_chunks(database)] == [["EMMA", "", "naïve"], []]


def test_translations_of_a_catalogue(scripts):
    _, sources = scripts
    catalogue = 'msgid "a"\nmsgstr "eins"\n\nmsgid "b"\nmsgid_plural "bs"\nmsgstr[0] ""\n"zw"\n"ei\\n"\nmsgstr[1] "x"\n'
    assert sources._translations(catalogue) == "eins\nzwei\n\nx"


def test_unknown_packages_are_refused(scripts, tmp_path):
    _, sources = scripts
    for name in sources.SHA256:
        (tmp_path / name).write_bytes(b"another version")
    with pytest.raises(ValueError, match="is not the file this script was written for"):
        sources.verify(tmp_path)


def test_corpus_is_running_text(scripts, monkeypatch):
    build, _ = scripts
    monkeypatch.setattr(build, "CORPUS_CHARACTERS", 12)
    assert build.corpus("By Jane Austen\n\nChapter 1\n\nIt _is_ so.\n\nNext.\n\nLast.") == "It is so.\n\nNext.\n"


def test_training_is_repeatable_and_has_every_special_token(scripts, monkeypatch):
    build, _ = scripts
    monkeypatch.setattr(build, "VOCABULARY_SIZE", 300)
    texts = ["the cat sat on the mat, the end"] * 50
    first, second = (build.train(iter(texts)) for _ in range(2))
    assert first.to_str() == second.to_str()
    assert first.get_vocab_size() <= 300
    assert first.encode("<s>naïve</think>☃").tokens[0:2] == ["<s>", "<s>"]
    assert first.decode(first.encode("naïve ☃").ids) == "naïve ☃"
