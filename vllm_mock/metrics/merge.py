"""One page for all data-parallel ranks: a scrape reaches one worker, which asks the others for theirs.

Series of the engines differ by their label `engine` and stand beside each other; series without it (HTTP requests,
refusals at the queue) are added up; what describes one process is told of the answering worker alone.
"""

from collections.abc import Mapping

from vllm_mock.metrics.lora_info import merge_lora_info
from vllm_mock.metrics.page import Page

_OWN_PREFIXES = ("process_", "python_")


def merge(pages: Mapping[int, Page], own_rank: int) -> Page:
    """Pages by rank as one; series in the order of the ranks."""
    merged: Page = {}
    series: dict[str, dict[str, str]] = {}
    for rank in sorted(pages):
        for family, lines in pages[rank].items():
            merged.setdefault(family, lines[:2])
            if rank == own_rank or not family.startswith(_OWN_PREFIXES):
                samples = series.setdefault(family, {})
                for line in lines[2:]:
                    _add(samples, line)
    page = {family: [*head, *_lines(series.get(family, {}))] for family, head in merged.items()}
    merge_lora_info(page, pages.values())
    return page


def _add(samples: dict[str, str], line: str) -> None:
    name, _, value = line.rpartition(" ")
    known = samples.get(name)
    if known is None:
        samples[name] = value
    elif not name.partition("{")[0].endswith("_created"):
        samples[name] = repr(float(known) + float(value))


def _lines(samples: dict[str, str]) -> list[str]:
    return [f"{name} {value}" for name, value in samples.items()]
