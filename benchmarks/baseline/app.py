"""The least that Flask on gunicorn's gevent worker can do for the same requests: what the machine itself costs.

It takes the port from the command line of `app.py` and ignores all other flags.
"""

import json
import sys
import time
from collections.abc import Iterator

from flask import Flask, Response, request
from gunicorn.app.base import BaseApplication

FIRST_TOKEN_SECONDS = 0.1
INTERVAL_SECONDS = 0.02
HEAD = b'{"id":"chatcmpl-0123456789abcdef","object":"chat.completion","created":1700000000,"model":"bench",'
ANSWER = (
    HEAD + b'"choices":[{"index":0,"message":{"role":"assistant","content":"Once upon a time there was a server that '
    b'answered before it was asked."},"finish_reason":"length"}],'
    b'"usage":{"prompt_tokens":20,"completion_tokens":16,"total_tokens":36}}'
)
CHUNK = (
    b"data: " + HEAD + b'"choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null,'
    b'"token_ids":null}],"kv_transfer_params":null}\n\n'
)


def chunks(count: int) -> Iterator[bytes]:
    """`count` tokens on an absolute schedule; overdue ones leave together."""
    due = time.monotonic() + FIRST_TOKEN_SECONDS
    while count:
        time.sleep(max(0.0, due - time.monotonic()))
        fresh = max(1, min(count, int((time.monotonic() - due) / INTERVAL_SECONDS) + 1))
        yield CHUNK * fresh
        due += fresh * INTERVAL_SECONDS
        count -= fresh
    yield b"data: [DONE]\n\n"


class Baseline(BaseApplication):
    """gunicorn with the settings that matter, and three views."""

    def load_config(self) -> None:
        port = sys.argv[sys.argv.index("--port") + 1]
        settings = {
            "bind": f"127.0.0.1:{port}",
            "worker_class": "gevent",
            "worker_connections": 10_000,
            "backlog": 4096,
            "keepalive": 5,
            "loglevel": "warning",
            "control_socket_disable": True,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        app = Flask("baseline")
        app.add_url_rule("/health", "health", str)
        app.add_url_rule("/ready", "ready", str)

        @app.post("/v1/chat/completions")
        def chat() -> Response:
            asked = json.loads(request.get_data())
            if asked["stream"]:
                return Response(chunks(asked["max_tokens"]), content_type="text/event-stream")
            return Response(ANSWER, content_type="application/json")

        return app


if __name__ == "__main__":
    Baseline().run()
