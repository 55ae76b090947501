"""A page in Prometheus' text format: families in their order, each with its lines.

Written here rather than by prometheus_client, which takes ten times as long over the 900 lines of vLLM's page.
"""

import re
from collections.abc import Iterable, Mapping

from prometheus_client.utils import floatToGoString

Page = dict[str, list[str]]
"""By family name as printed: the lines HELP and TYPE, then the samples."""


def head(name: str, kind: str, text: str) -> list[str]:
    """The two lines that precede the samples of a family."""
    escaped = text.replace("\\", r"\\").replace("\n", r"\n")
    return [f"# HELP {name} {escaped}", f"# TYPE {name} {kind}"]


def label_text(labels: Mapping[str, str]) -> str:
    """`{a="1",b="2"}` in the order of names, as vLLM prints labels; "" without any."""
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(labels[name])}"' for name in sorted(labels)) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def unescaped(value: str) -> str:
    """The value of a label from its text between the quotes."""
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], value)


def number(value: float) -> str:
    """A value as Prometheus' clients print it."""
    return floatToGoString(value)


def parse(text: str) -> Page:
    """A page by its families."""
    page: Page = {}
    lines: list[str] = []
    # splitlines() would also split at characters that a label may hold.
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# HELP "):
            lines = page.setdefault(line.split(" ", 3)[2], [])
        lines.append(line)
    return page


def to_bytes(page: Page) -> bytes:
    """The page as it is sent."""
    return ("\n".join(_all_lines(page.values())) + "\n").encode()


def _all_lines(families: Iterable[list[str]]) -> Iterable[str]:
    for lines in families:
        yield from lines
