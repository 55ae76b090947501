"""vllm:lora_requests_info: which LoRA adapters run and wait, told in labels; the value is the time of telling."""

import re
import time
from collections.abc import Callable, Iterable, Sequence

from vllm_mock.metrics.page import Page, head, label_text, number, unescaped

NAME = "vllm:lora_requests_info"
_NAMES = re.compile(r'max_lora="(\d+)",running_lora_adapters="(.*?)",waiting_lora_adapters="(.*?)"}')


class LoRAInfo:
    """The family on one worker's page. `adapters` gives (running, waiting) names, None as long as LoRA is not used."""

    def __init__(self, max_loras: int) -> None:
        self._max_loras = max_loras
        self.adapters: Callable[[], tuple[list[str], list[str]] | None] = lambda: None

    def add_to(self, page: Page, created: bool) -> None:
        """Show the adapters of now."""
        adapters = self.adapters()
        if adapters is not None:
            add_lora_info(page, self._max_loras, *adapters)


def add_lora_info(page: Page, max_loras: int, running: Sequence[str], waiting: Sequence[str]) -> None:
    """One series: the adapters of now. vLLM keeps those of former times beside it, with older values."""
    labels = {
        "max_lora": str(max_loras),
        "running_lora_adapters": ",".join(running),
        "waiting_lora_adapters": ",".join(waiting),
    }
    page[NAME] = [
        *head(NAME, "gauge", "LoRA adapters with running and with waiting requests."),
        f"{NAME}{label_text(labels)} {number(time.time())}",
    ]


def merge_lora_info(merged: Page, pages: Iterable[Page]) -> None:
    """The adapters of all workers in one series."""
    found = [match for page in pages for line in page.get(NAME, ()) if (match := _NAMES.search(line))]
    if found:
        running, waiting = (
            {name for match in found for name in unescaped(match[part]).split(",") if name} for part in (2, 3)
        )
        add_lora_info(merged, int(found[0][1]), sorted(running), sorted(waiting))
