"""The texts that the embedded tokenizer is trained on, read from four downloaded packages.

| file | what is taken | licence |
| --- | --- | --- |
| r-cran-janeaustenr_1.0.0-1_all.deb (Debian 12) | the novels of Jane Austen | public domain (package: MIT) |
| wordnet-base_1%3a3.0-37_all.deb (Debian 12) | the definitions of WordNet 3.0 | WordNet 3.0 licence |
| dict-jargon_4.4.7-3.1_all.deb (Debian 12) | the Jargon File 4.4.7 | public domain |
| django-5.2.1.tar.gz (PyPI) | documentation, Python code, JSON, HTML, translations | BSD-3-Clause |
"""

import gzip
import hashlib
import io
import re
import struct
import subprocess
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

AUSTEN = "r-cran-janeaustenr_1.0.0-1_all.deb"
JARGON = "dict-jargon_4.4.7-3.1_all.deb"
WORDNET = "wordnet-base_1%3a3.0-37_all.deb"
DJANGO = "django-5.2.1.tar.gz"
SHA256 = {
    AUSTEN: "df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95",
    JARGON: "405f8168d7994ed2cb71407bb95493daec2e9aa66fc0461dafa74a9d6728a8c1",
    WORDNET: "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
    DJANGO: "57fe1f1b59462caed092c80b3dd324fd92161b620d59a9ba9181c34746c97284",
}
# SEXP type codes of R's serialization format ("R Internals", section 1.8).
R_STRING_VECTOR, R_STRING = 16, 9
PO_TRANSLATION = re.compile(r'^msgstr(?:\[\d\])? ((?:".*"\n?)+)', re.MULTILINE)


def verify(folder: Path) -> None:
    """Raise ValueError unless `folder` holds the packages that the committed files were built from."""
    for name, expected in SHA256.items():
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != expected:
            raise ValueError(f"{name} is not the file this script was written for")


def austen_novels(folder: Path) -> dict[str, str]:
    """Title to text of each novel; paragraphs are separated by an empty line, lines are joined."""
    database = _from_deb(folder / AUSTEN, "/janeaustenr/data/Rdata.rdb")
    novels = (_r_strings(serialized) for serialized in _r_lazy_load_chunks(database))
    return {lines[0].title(): _paragraphs("\n".join(lines[1:])) for lines in novels}


def jargon_file(folder: Path) -> str:
    """The Jargon File's entries, unindented."""
    text = gzip.decompress(_from_deb(folder / JARGON, "/jargon.dict.dz")).decode()
    return re.sub(r"^ +", "", text, flags=re.MULTILINE)


def wordnet_definitions(folder: Path) -> Iterator[str]:
    """Per part of speech, one definition with its example sentences a line."""
    for part in ("noun", "verb", "adj", "adv"):
        data = _from_deb(folder / WORDNET, f"/wordnet/data.{part}").decode()
        yield "\n".join(line.partition(" | ")[2].strip() for line in data.splitlines() if " | " in line)


def django_files(folder: Path) -> Iterator[str]:
    """The texts of Django's documentation, code, data and translations, in order of path."""
    with tarfile.open(folder / DJANGO) as archive:
        for member in sorted(archive.getmembers(), key=lambda entry: entry.name):
            path = member.name.partition("/")[2]
            kind = _kind(path)
            content = archive.extractfile(member) if kind and member.isfile() else None
            if content is not None:
                text = content.read().decode("utf-8", "replace")
                yield _translations(text) if kind == "po" else text


def _kind(path: str) -> str | None:
    """The kind of a file worth reading. Tests and minified files would only distort the counts."""
    suffix = path.rpartition(".")[2]
    wanted = {
        "txt": path.startswith("docs/"),
        "py": path.startswith("django/") and "/contrib/" not in path and "/locale/" not in path,
        "json": True,
        "html": path.startswith("django/"),
        "js": path.startswith("django/") and "/vendor/" not in path,
        "po": path.startswith("django/"),
    }
    return suffix if wanted.get(suffix) else None


def _translations(catalogue: str) -> str:
    entries = PO_TRANSLATION.findall(catalogue)
    return "\n".join("".join(re.findall(r'"(.*)"', entry)).replace("\\n", "\n") for entry in entries)


def _from_deb(package: Path, ending: str) -> bytes:
    data = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        member = next(entry for entry in archive.getmembers() if entry.name.endswith(ending))
        content = archive.extractfile(member)
        assert content is not None
        return content.read()


def _r_lazy_load_chunks(database: bytes) -> Iterator[bytes]:
    """The objects of an R lazy-load database: each is a length (4 bytes) and a zlib stream."""
    while database:
        stream = zlib.decompressobj()
        yield stream.decompress(database[4:])
        database = stream.unused_data


def _r_strings(serialized: bytes) -> list[str]:
    """The strings of a character vector in R's XDR serialization, version 3."""
    encoding_length = struct.unpack_from(">I", serialized, 14)[0]
    position = 18 + encoding_length
    flags, count = struct.unpack_from(">II", serialized, position)
    assert flags & 0xFF == R_STRING_VECTOR
    position += 8
    strings = []
    for _ in range(count):
        flags, length = struct.unpack_from(">II", serialized, position)
        assert flags & 0xFF == R_STRING
        strings.append(serialized[position + 8 : position + 8 + length].decode())
        position += 8 + length
    return strings


def _paragraphs(text: str) -> str:
    blocks = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(" ".join(block.split()) for block in blocks)
