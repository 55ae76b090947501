"""Keys, admin routes, and requests that would like the server to open files or connections."""

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from raw_http import Connection, request_bytes
from server import GTHREAD, INSTANT, TINY, Server, ServerPool

from vllm_mock import create_app
from vllm_mock.routes.http import ADMIN_PREFIXES, GUARDED_PREFIXES
from vllm_mock.settings import load

KEYS = ("first-secret-key", "second-secret-key")
CHAT = "/v1/chat/completions"
DEVELOPMENT = {"VLLM_SERVER_DEV_MODE": "1"}
# What neither generates nor changes anything, or is the model's and open in vLLM as well.
OPEN = {
    *("/ready", "/health", "/ping", "/load", "/version", "/metrics", "/docs", "/redoc", "/openapi.json", "/tokenize"),
    *("/detokenize", "/classify", "/pooling", "/rerank", "/score", "/generative_scoring", "/invocations"),
    *("/is_paused", "/is_sleeping", "/is_scaling_elastic_ep", "/get_world_size", "/weight_info", "/kv_event_sources"),
    *("/images/<token>.<format>", "/videos/<token>.mp4", "/docs/oauth2-redirect", "/metrics/<anything:path>"),
}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def guarded(servers: ServerPool) -> Server:
    flags = (*TINY, *INSTANT, "--api-key", *KEYS, "--protect-admin", "--enable-access-log")
    return servers.get(*flags, "--enable-lora", environ=DEVELOPMENT)


@pytest.mark.parametrize("key", KEYS)
def test_each_key_opens(guarded: Server, key: str) -> None:
    assert guarded.get("/v1/models", bearer(key)).status == 200
    assert guarded.get("/v1/models", {"Authorization": f"bearer {key}"}).status == 200


@pytest.mark.parametrize(
    "authorization",
    [
        *("", "Bearer", "Bearer ", "Bearer first", "Bearer first-secret-keys", f"Bearer {KEYS[0]} {KEYS[1]}"),
        *(f"Basic {KEYS[0]}", KEYS[0], f"Bearer  {KEYS[0]}", "Bearer " + "x" * 10_000, "Bearer \xff\xfe", "Bearer *"),
    ],
)
def test_nothing_else_opens(guarded: Server, authorization: str) -> None:
    reply = guarded.get("/v1/models", {"Authorization": authorization})
    assert reply.status == 401
    assert reply.json()["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    "path", ["/%761/models", "/v1/%6dodels", "/v1/models?x=/health", "/v1/./models", "//v1/models"]
)
def test_other_spellings_of_a_path_open_nothing(guarded: Server, path: str) -> None:
    assert guarded.get(path).status in (401, 404)


def test_no_route_was_forgotten() -> None:
    """Every route is the model's and guarded, the operator's and guarded on demand, or open on purpose."""
    app = create_app(load([], {**DEVELOPMENT, "STANDALONE_MODE": "true"}))
    rules = {rule.rule for rule in app.url_map.iter_rules()}
    assert {rule for rule in rules if not rule.startswith((*GUARDED_PREFIXES, *ADMIN_PREFIXES))} == OPEN


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("POST", path) for path in ("/set_metrics", "/mock/faults", "/sleep", "/pause", "/reset_prefix_cache")),
        *(("POST", path) for path in ("/load_lora_adapter", "/adapters", "/abort_requests", "/collective_rpc")),
        *(("GET", "/server_info"), ("DELETE", "/mock/faults"), ("DELETE", "/set_metrics"), ("DELETE", "/adapters/a")),
    ],
)
def test_protect_admin(guarded: Server, method: str, path: str) -> None:
    assert guarded.request(method, path, {} if method == "POST" else None).status == 401


def test_keys_are_told_nowhere(guarded: Server) -> None:
    for key in (*KEYS, "wrong-secret-key"):
        guarded.post(CHAT, {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}, bearer(key))
        guarded.post(CHAT, b"{", bearer(key))
        with Connection(guarded.port) as connection:
            connection.socket.sendall(f"GET / HTTP/1.1\r\nAuthorization: Bearer {key}\r\nbroken\r\n\r\n".encode())
            connection.read_rest()
        with Connection(guarded.port) as connection:
            connection.socket.sendall(f"GET / HTTP/1.1\r\nAuthorization Bearer {key}\r\n\r\n".encode())
            assert connection.read_reply().status == 400
    reply = guarded.get("/server_info", bearer(KEYS[0]))
    assert reply.status == 200
    for text in (reply.body.decode(), guarded.logged(), guarded.get("/metrics").body.decode()):
        assert "secret-key" not in text
    assert "/v1/chat/completions" in guarded.logged()


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """A port on which nobody is to call."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        yield listener


@pytest.mark.parametrize("runner", ["app", GTHREAD])
def test_requests_open_neither_files_nor_connections(
    servers: ServerPool, tmp_path: Path, trap: socket.socket, runner: str
) -> None:
    server = servers.get(*TINY, *INSTANT, "--enable-lora", runner=runner)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    port = trap.getsockname()[1]
    for link in (f"http://127.0.0.1:{port}/a.png", f"file://{pipe}", str(pipe), f"//127.0.0.1:{port}/a"):
        for path, body in asking(link):
            with Connection(server.port) as connection:
                connection.socket.sendall(request_bytes("POST", path, body))
                assert connection.read_reply().status < 500
    with pytest.raises(BlockingIOError):
        trap.accept()
    # Opening a pipe for writing says whether somebody has it open for reading; a reader would also still hang there.
    with pytest.raises(OSError, match=os.strerror(errno.ENXIO)):
        os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)


def asking(link: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Requests whose fields name this link."""
    parts = (
        {"type": "image_url", "image_url": {"url": link}},
        {"type": "audio_url", "audio_url": {"url": link}},
        {"type": "video_url", "video_url": {"url": link}},
        {"type": "file", "file": {"file_data": link}},
    )
    for part in parts:
        yield CHAT, {"messages": [{"role": "user", "content": [part]}], "max_tokens": 1}
    yield CHAT, {"messages": [{"role": "user", "content": "a"}], "chat_template": "{% include '" + link + "' %}"}
    image = {"type": "input_image", "image_url": link}
    yield "/v1/responses", {"input": [{"role": "user", "content": [image]}], "max_output_tokens": 1}
    yield "/v1/load_lora_adapter", {"lora_name": "a", "lora_path": link, "load_inplace": True}
    yield "/v1/images/edits", {"prompt": "a", "image": link}
    yield "/v1/videos", {"prompt": "a", "input_reference": link}
    yield "/v1/embeddings", {"messages": [{"role": "user", "content": [parts[0]]}]}
    yield "/start_weight_update", {"weights_path": link}
