"""Chat templates that come with requests: rendered by a child with little memory and time, so that they hurt nobody.

Jinja's sandbox keeps a template from the server's files and objects, but not from a loop without end or a text of
10 GB, and under gevent either would stop every other request of the worker.
"""

import contextlib
import json
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vllm_mock.tokenizer.errors import ChatTemplateError

CPU_SECONDS = 2
MEMORY_BYTES = 512 * 2**20
# Of the whole child; a busy machine may take its time.
WALL_SECONDS = 20
# How many are rendered at once by a worker.
CHILDREN = 2

_ROOT = str(Path(__file__).resolve().parents[2])
_COMMAND = (sys.executable, "-c", f"from {__name__} import main; main()")
_free = threading.BoundedSemaphore(CHILDREN)


def render_apart(source: str, variables: Mapping[str, Any], continue_final_message: bool) -> str:
    """As chat_template.render. Raises ChatTemplateError also for a template that takes too much."""
    asked = json.dumps([source, variables, continue_final_message]).encode()
    with _free:
        answer = _ask_child(asked)
    try:
        text, error = json.loads(answer)
    except ValueError:
        text, error = "", ""
    if error is not None:
        # A MemoryError says nothing.
        raise ChatTemplateError(error or "The chat template takes too much time or memory.")
    return text


def _ask_child(asked: bytes) -> bytes:
    import subprocess  # 4 ms

    environ = {**os.environ, "PYTHONPATH": _ROOT}
    with contextlib.suppress(subprocess.TimeoutExpired):
        ended = subprocess.run(
            _COMMAND, input=asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environ, timeout=WALL_SECONDS
        )
        return ended.stdout
    return b""


def main() -> None:
    """The child: reads what to render from its input and prints the text, or what was wrong."""
    _limit()
    from vllm_mock.tokenizer.chat_template import render

    source, variables, continue_final_message = json.load(sys.stdin)
    try:
        told = [render(source, variables, continue_final_message), None]
    except ChatTemplateError as error:
        told = [None, str(error)]
    print(json.dumps(told))


def _limit() -> None:
    try:
        import resource
    except ImportError:
        # Not on Windows, where the wall clock alone bounds it.
        return
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
