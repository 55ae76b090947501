"""What the soak's clients do, and the book in which they write down what they saw."""

import http.client
import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from client import http_request

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
LARGEST_BODY = 200_000
TIMEOUT_SECONDS = 60.0
# The server closes after 5 s.
MOST_IDLE_SECONDS = 2.0
# On, zero seconds: closing sends RST.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Book:
    """Counts, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        # (route, hundred of the status): answers whose status line came.
        self.answers: Counter[tuple[str, int]] = Counter()
        self.surprises: list[str] = []
        # In tokens, of those that were answered: an upper bound for those of clients that left.
        self.longest_prompt = 0

    def add(self, **counts: int) -> None:
        """Add to the counts."""
        with self._lock:
            self.counts.update(counts)

    def answered(self, path: str, status: int) -> None:
        """A status line came."""
        with self._lock:
            self.answers[path, status // 100] += 1

    def completed(self, choices: int, usage: dict[str, Any]) -> None:
        """An answer came to its end; what it says of itself."""
        with self._lock:
            self.counts["completed"] += choices
            self.counts["completed_tokens"] += usage["completion_tokens"]
            self.counts["prompt_tokens"] += usage["prompt_tokens"]
            self.longest_prompt = max(self.longest_prompt, usage["prompt_tokens"])

    def surprise(self, text: str) -> None:
        """What should not have happened."""
        with self._lock:
            self.surprises.append(text)


class Client:
    """One of many; does this and that until told to stop."""

    def __init__(self, port: int, book: Book, seed: int) -> None:
        self._port = port
        self._book = book
        self._number = seed
        self._random = random.Random(seed)
        self._connection: http.client.HTTPConnection | None = None
        self._used_at = 0.0
        self.actions: list[tuple[int, Callable[[], None]]] = [
            (30, self.stream),
            (15, self.whole),
            (6, self.two_choices),
            (10, self.leave_the_stream),
            (8, self.leave_the_wait),
            (3, self.pipeline),
            (6, self.bad_input),
            (2, self.broken_request),
            (1, self.too_large),
            (4, self.scrape),
            (3, self.adapter),
            (2, self.override),
            (4, self.refused_on_purpose),
            (3, self.cut_on_purpose),
            (4, self.small),
        ]

    def run(self, until: float) -> None:
        """Act until that time (monotonic seconds)."""
        weights = [weight for weight, _ in self.actions]
        functions = [function for _, function in self.actions]
        while time.monotonic() < until:
            [action] = self._random.choices(functions, weights)
            try:
                action()
            except (OSError, http.client.HTTPException, AssertionError, ValueError) as error:
                self._book.surprise(f"{action.__name__}: {error!r}")
                self._drop()
        self._drop()

    # What ends well

    def stream(self) -> None:
        """A stream to its end."""
        events = self._stream(self._question(stream=True, stream_options={"include_usage": True}))
        assert events[-1] == b"data: [DONE]", events[-1:]
        usage = json.loads(events[-2].removeprefix(b"data: "))["usage"]
        self._book.completed(1, usage)

    def whole(self) -> None:
        """An answer in one piece."""
        answer = self._ask("POST", CHAT, self._question())
        self._book.completed(1, answer["usage"])

    def two_choices(self) -> None:
        """A completion with two choices."""
        body = {"model": "tiny", "prompt": self._text(), "n": 2, "max_tokens": self._tokens(), "ignore_eos": True}
        self._book.completed(2, self._ask("POST", COMPLETIONS, body)["usage"])

    def small(self) -> None:
        """Routes that generate nothing."""
        self._ask("POST", "/tokenize", {"model": "tiny", "prompt": self._text()})
        self._ask("GET", "/v1/models")
        self._ask("GET", "/health")

    def pipeline(self) -> None:
        """Two requests at once on one connection."""
        body = {**self._question(), "max_tokens": 2}
        with socket.create_connection(("127.0.0.1", self._port), TIMEOUT_SECONDS) as connection:
            connection.sendall(http_request(CHAT, body) + http_request(CHAT, body, "Connection: close\r\n"))
            reader = connection.makefile("rb")
            answers = reader.read().split(b"HTTP/1.1 ")[1:]
        assert len(answers) == 2, answers
        for answer in answers:
            self._book.answered(CHAT, int(answer[:3]))
            self._book.completed(1, json.loads(answer.partition(b"\r\n\r\n")[2])["usage"])

    # Those who leave

    def leave_the_stream(self) -> None:
        """Leave after some tokens, with FIN or RST."""
        self._leave(self._question(stream=True, max_tokens=200), self._random.randint(400, 6000))

    def leave_the_wait(self) -> None:
        """Leave before an answer in one piece is there."""
        self._leave(self._question(max_tokens=200), 0)

    def _leave(self, body: dict[str, Any], after_bytes: int) -> None:
        with socket.create_connection(("127.0.0.1", self._port), TIMEOUT_SECONDS) as connection:
            connection.sendall(http_request(CHAT, body))
            self._book.add(left=1, left_tokens=body["max_tokens"])
            taken = 0
            while taken < after_bytes and (data := connection.recv(4096)):
                taken += len(data)
            if not after_bytes:
                time.sleep(self._random.uniform(0, 0.2))
            if self._random.random() < 0.5:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)

    # What is refused

    def bad_input(self) -> None:
        """Requests that are refused with 400 or 404."""
        body, status = self._random.choice(
            (
                (b"{", 400),
                (b"[" * 5000, 400),
                (b'{"messages": "\xff"}', 400),
                ({**self._question(), "max_tokens": -1}, 400),
                ({**self._question(), "temperature": float("nan")}, 400),
                ({**self._question(), "n": 100_000}, 400),
                ({**self._question(), "model": "nobody"}, 404),
                ({"model": "tiny", "messages": []}, 400),
            )
        )
        self._ask("POST", CHAT, body, status)

    def broken_request(self) -> None:
        """What is no HTTP, or half of it."""
        data = self._random.choice(
            (b"\0\1\2\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", http_request(CHAT, {"model": "tiny"})[:60], b"POST ")
        )
        with socket.create_connection(("127.0.0.1", self._port), TIMEOUT_SECONDS) as connection:
            connection.sendall(data)
        self._book.add(broken=1)

    def too_large(self) -> None:
        """More than --max-request-bytes."""
        self._ask("POST", CHAT, b"x" * (LARGEST_BODY + 1), 413)
        self._book.add(too_large=1)
        self._drop()

    def refused_on_purpose(self) -> None:
        """A rule that refuses this client's next two requests."""
        rule = {
            "match": {"header": {"x-soak": str(self._number)}},
            "times": 2,
            "action": {"type": "error", "status": 429},
        }
        number = self._rule(rule)
        for status in (429, 429, 200):
            answer = self._ask("POST", CHAT, self._question(), status, {"x-soak": str(self._number)})
            if status == 200:
                self._book.completed(1, answer["usage"])
        [hits] = [rule["hits"] for rule in self._ask("GET", "/mock/faults")["rules"] if rule["id"] == number]
        assert hits == 2, hits
        self._ask("DELETE", f"/mock/faults/{number}")
        self._book.add(injected=2)

    def cut_on_purpose(self) -> None:
        """A rule that cuts this client's next stream."""
        header = f"cut-{self._number}"
        how = self._random.choice(("rst", "fin"))
        action = {"type": "disconnect", "after_tokens": 3, "how": how}
        number = self._rule({"match": {"header": {"x-soak": header}}, "times": 1, "action": action})
        body = self._question(stream=True, max_tokens=40)
        raw = b""
        with socket.create_connection(("127.0.0.1", self._port), TIMEOUT_SECONDS) as connection:
            connection.sendall(http_request(CHAT, body, f"x-soak: {header}\r\n"))
            self._book.add(left=1, left_tokens=40)
            try:
                while data := connection.recv(65_536):
                    raw += data
            except ConnectionResetError:
                pass
        assert b"[DONE]" not in raw
        self._ask("DELETE", f"/mock/faults/{number}")
        self._book.add(cut=1)

    def _rule(self, rule: dict[str, Any]) -> int:
        return self._ask("POST", "/mock/faults", rule)["ids"][0]

    # The operator

    def scrape(self) -> None:
        """Reads /metrics."""
        page = self._ask("GET", "/metrics")
        assert b"vllm:num_requests_running{" in page
        self._book.add(scrapes=1)

    def adapter(self) -> None:
        """Load an adapter, use it, unload it."""
        name = f"adapter-{self._number}"
        self._ask("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": "/a"})
        self._book.completed(1, self._ask("POST", CHAT, {**self._question(), "model": name})["usage"])
        self._ask("POST", "/v1/unload_lora_adapter", {"lora_name": name})
        self._book.add(adapters=1)

    def override(self) -> None:
        """Sets a metric that nothing else here reads."""
        self._ask("POST", "/set_metrics", {"waiting": self._random.randint(0, 9)})
        self._book.add(overrides=1)

    # How

    def _question(self, **parameters: Any) -> dict[str, Any]:
        messages = [{"role": "user", "content": self._text()}]
        return {"model": "tiny", "messages": messages, "max_tokens": self._tokens(), "ignore_eos": True, **parameters}

    def _tokens(self) -> int:
        return self._random.randint(1, 40)

    def _text(self) -> str:
        return "".join(self._random.choices("abcdefgh ", k=self._random.randint(1, 60)))

    def _stream(self, body: dict[str, Any]) -> list[bytes]:
        return self._send("POST", CHAT, body, 200, {}).removesuffix(b"\n\n").split(b"\n\n")

    def _ask(
        self, method: str, path: str, body: Any = None, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Any:
        answer = self._send(method, path, body, status, headers or {})
        return json.loads(answer) if answer[:1] in (b"{", b"[") else answer

    def _send(self, method: str, path: str, body: Any, status: int, headers: Mapping[str, str]) -> bytes:
        """One exchange on the kept-alive connection; a new one at times, and when the server may have closed it."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        idle = time.monotonic() - self._used_at
        if self._connection is None or idle > MOST_IDLE_SECONDS or self._random.random() < 0.1:
            self._drop()
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_SECONDS)
        self._connection.request(method, path, data, {"Content-Type": "application/json", **headers})
        response = self._connection.getresponse()
        answer = response.read()
        self._used_at = time.monotonic()
        self._book.answered(path, response.status)
        assert response.status == status, (response.status, answer[:200])
        return answer

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
