"""What the README promises by name is there, in its order, and the documents' commands name what there is."""

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise

import pytest
from server import ROOT

README = (ROOT / "README.md").read_text()
DOCUMENTS = {path.name: path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
# Headings, commands (indented) and names (with a dash: what a list's entry has in backticks), in the README's order.
PROMISED = (ROOT / "tests/readme_lines.txt").read_text().splitlines()
# What AIBrix and the deployment are called, wherever the README says it.
NAMES = (
    "http://localhost:8000",
    "[api-key-patch.yaml](./config/mock/api-key-patch.yaml)",
    "[vidur](https://github.com/microsoft/vidur)",
    "valid options: `random`, `least-latency`, `throughput`",
    "`/set_metrics`",
)


def says(line: str, promise: str) -> bool:
    """Whether a line of the README is what was promised."""
    if promise.startswith("- "):
        return line.startswith("- ") and all(f"`{name}`" in line for name in promise[2:].split(" → "))
    return line == promise.strip()


def missing(text: str) -> list[str]:
    """Promises that the text does not keep after those before them."""
    lines = [line.strip() for line in text.splitlines()]
    lost, here = [], 0
    for promise in PROMISED:
        found = next((number for number in range(here, len(lines)) if says(lines[number], promise)), None)
        if found is None:
            lost.append(promise)
        else:
            here = found + 1
    return lost


@pytest.mark.parametrize(
    "line",
    [
        "kind load docker-image aibrix/vllm-mock:nightly",
        "kubectl delete -k config/simulator",
        '  -H "routing-strategy: random" \\',
        "kubectl scale deployment llama2-7b --replicas=5",
        "### Deploy the simulator app",
        "- `/ping` - Ping check",
    ],
)
def test_a_lost_line_is_noticed(line: str) -> None:
    assert line in README
    assert missing(README.replace(line, "")) != []


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command in the code blocks of a document; continued lines are one command."""
    for block in re.findall(r"```(?:bash|shell|dockerfile)\n(.*?)```", text, re.DOTALL):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            if line.strip() and not line.startswith(("#", " ", "}")):
                try:
                    yield shlex.split(line, comments=True)
                except ValueError:
                    # The body of a request goes on in the next line.
                    yield line.split()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_name_what_there_is(document: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    for words in commands(DOCUMENTS[document]):
        if "-k" in words and words[0] == "kubectl":
            assert (ROOT / words[words.index("-k") + 1] / "kustomization.yaml").is_file(), words
        for flag, word in pairwise(words):
            if flag in ("-f", "-r") and not word.startswith("http"):
                assert (ROOT / word).is_file(), words
        if words[0] == "make":
            for target in (word for word in words[1:] if "=" not in word):
                overlay = re.fullmatch(r"(?:deploy|clean)-(.+)", target)
                assert target in targets or (overlay and (ROOT / "config" / overlay[1]).is_dir()), words


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    folder = ROOT if document == "README.md" else ROOT / "docs"
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", DOCUMENTS[document]):
        assert (folder / target).exists(), target


def test_the_layout_names_every_folder() -> None:
    layout = README.partition("## Development")[2]
    folders = [*(ROOT / "vllm_mock").iterdir(), *(ROOT / name for name in ("config", "tests", "benchmarks"))]
    for folder in folders:
        if any(folder.glob("*.*")) and folder.name != "__pycache__":
            assert f"{folder.relative_to(ROOT)}/ " in layout or f"{folder.relative_to(ROOT)}: " in layout, folder
