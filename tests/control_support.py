"""What the tests of engine control share: a server that is slow enough to act upon, and what clients see of it."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator

import requests
from server import TINY, Server, ServerPool
from waiting_support import WAIT_SECONDS

# 20 tokens per second, so that something runs while a test acts.
SLOW = (*TINY, "--time-to-first-token", "20", "--inter-token-latency", "50", "--prefill-time-per-token", "0")
LIVE = ("--metrics-mode", "live")


def post(server: Server, path: str, **document: object) -> requests.Response:
    return requests.post(server.base_url + path, json=document, timeout=30)


def get(server: Server, path: str) -> requests.Response:
    return requests.get(server.base_url + path, timeout=30)


class Stream:
    """A streamed completion of `tokens` tokens, read by a thread: the data of its events, and when each came."""

    def __init__(self, server: Server, tokens: int, path: str = "/v1/completions", **fields: object) -> None:
        body = {"model": "tiny", "max_tokens": tokens, "ignore_eos": True, "stream": True, **fields}
        if path == "/v1/completions":
            body.setdefault("prompt", "hello")
        self.response = requests.post(server.base_url + path, json=body, stream=True, timeout=30)
        self.events: list[tuple[float, str]] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        for line in self.response.iter_lines():
            if line:
                self.events.append((time.monotonic(), line.decode().removeprefix("data: ")))

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join(WAIT_SECONDS)

    def chunks(self) -> list[dict]:
        """All chunks, once the stream has ended."""
        self.join()
        assert self.events[-1][1] == "[DONE]"
        return [json.loads(event) for _, event in self.events[:-1]]


@contextlib.contextmanager
def controlled(servers: ServerPool) -> Iterator[Server]:
    """The server that these tests share, awake and not paused when a test leaves it."""
    running = servers.get(*SLOW, *LIVE, environ={"POD_NAME": "control"})
    yield running
    requests.post(running.base_url + "/wake_up", timeout=30)
    requests.post(running.base_url + "/resume", timeout=30)
