"""Recorded exchanges with vLLM 0.33.0 as requests to repeat, and what of two answers must be equal.

A capture's first lines are `>>> METHOD PATH`, `>>> JSON body` and `>>> curl args: ...` (the last two where needed);
then comes the answer as `curl -i` showed it, with one newline added. What the engine decides (texts, ids, log
probabilities, numbers of generated and of cached tokens) was made up by a script in the recording.
"""

import base64
import json
import re
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from raw_http import DONE, Reply

FOLDER = Path(__file__).parent / "contract" / "captures"
CURL_OPTION = re.compile(r"-([A-Za-z])(?: (.*?))?(?= -[A-Za-z](?: |$)|$)")
FORM = "application/x-www-form-urlencoded"

# Headers that no two servers share, and those by which ours names the pod (a decision for AIBrix).
UNCOMPARED_HEADERS = {"date", "content-length", "connection", "keep-alive"}
OWN_HEADERS = {"x-inference-pod", "x-inference-namespace"}


@dataclass
class Capture:
    """One recorded exchange."""

    name: str
    method: str = "GET"
    path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    reply: Reply = field(default_factory=lambda: Reply(0, [], b""))


def names() -> list[str]:
    """The captures that are in the repository."""
    return sorted(path.stem for path in FOLDER.glob("*.txt"))


def load(name: str) -> Capture:
    """Read a capture by its file name without .txt."""
    lines = (FOLDER / f"{name}.txt").read_bytes().removesuffix(b"\n")
    capture = Capture(name)
    first = True
    while lines.startswith(b">>> "):
        line, _, lines = lines.partition(b"\n")
        text = line.removeprefix(b">>> ")
        if first:
            capture.method, capture.path = text.decode().split(" ", 1)
            first = False
        elif text.startswith(b"curl args: "):
            _apply_curl_options(capture, text.removeprefix(b"curl args: ").decode())
        else:
            capture.body = text
            capture.headers["Content-Type"] = "application/json"
    head, _, body = lines.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    pairs = [tuple(line.split(": ", 1)) for line in fields]
    capture.reply = Reply(int(status.split()[1]), [(name.lower(), value) for name, value in pairs], body)
    return capture


def _apply_curl_options(capture: Capture, arguments: str) -> None:
    for option, value in CURL_OPTION.findall(arguments):
        if option == "H":
            name, _, text = value.partition(": ")
            capture.headers[name.title()] = text
        elif option == "d":
            capture.body = value.encode()
            capture.headers.setdefault("Content-Type", FORM)


def comparable(reply: Reply) -> str:
    """Status, headers and body of an answer as text, with everything that may differ replaced."""
    lines = [str(reply.status), *sorted(_comparable_headers(reply))]
    content_type = reply.header("content-type") or ""
    if content_type.startswith("text/event-stream"):
        lines += _comparable_stream(reply)
    elif content_type == "application/json" and reply.status < 400 and reply.body:
        _check_compact(reply.body)
        lines.append(_shape(reply.json()))
    elif content_type == "application/octet-stream":
        lines.append("<bytes>")
    else:
        lines.append(reply.body.decode())
    return "\n".join(lines)


def _comparable_headers(reply: Reply) -> list[str]:
    shown = []
    for name, value in reply.headers:
        if name in UNCOMPARED_HEADERS | OWN_HEADERS:
            continue
        if name == "metadata":
            value = json.dumps(_normalised(json.loads(value)))
        elif name == "location":
            value = re.sub("//[^/]+/", "//HOST/", value)
        elif name == "x-request-id":
            value = re.sub("^[0-9a-f]{32}$", "<32 hex>", value)
        elif name == "endpoint-load-metrics":
            value = re.sub(r"\d+\.\d+", "<float>", value)
        shown.append(f"{name}: {value}")
    return shown


def _comparable_stream(reply: Reply) -> list[str]:
    """The sequence of chunk shapes; neighbours of one shape count once, since texts differ in length."""
    assert reply.body.endswith(b"\n\n")
    events = reply.events()
    if events[0].startswith(b"event: "):
        names = [line.partition(b"\n")[0].decode() for line in events]
        events = [line.partition(b"\n")[2] for line in events]
    else:
        assert events.pop() == DONE
        names = [""] * len(events)
    shapes = []
    for name, event in zip(names, events, strict=True):
        data = event.removeprefix(b"data: ")
        assert data != event
        _check_compact(data)
        shapes.append(name + _shape(json.loads(data)))
    return [shape for shape, _ in groupby(shapes)]


def _check_compact(body: bytes) -> None:
    """vLLM's JSON has no spaces between tokens and no escapes beyond those that JSON needs."""
    text = json.dumps(json.loads(body), separators=(",", ":"), ensure_ascii=False)
    assert body.decode() == text


def _shape(document: Any) -> str:
    if isinstance(document, dict):
        _check_usage(document.get("usage"))
        _mark_counts(document)
    return json.dumps(_normalised(document), indent=1)


def _check_usage(usage: dict[str, Any] | None) -> None:
    if usage is not None and "total_tokens" in usage:
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage.get("completion_tokens", 0)


def _mark_counts(document: Any) -> None:
    """Where a text ended by itself or is not over yet, the number of its tokens is the engine's affair."""
    usage = document.get("usage")
    if "output_tokens" in (usage or ()):
        _mark_anthropic_counts(document, usage)
        return
    reasons = {choice["finish_reason"] for choice in document.get("choices", ())}
    if usage is not None and "choices" in document and reasons != {"length"}:
        usage["completion_tokens"] = usage["total_tokens"] = "<count>"


def _mark_anthropic_counts(document: Any, usage: dict[str, Any]) -> None:
    reason = document.get("delta", document).get("stop_reason")
    if reason != "max_tokens":
        usage["output_tokens"] = "<count>"
    usage["input_tokens"] += usage.get("cache_read_input_tokens", 0) + usage.get("cache_creation_input_tokens", 0)


def _normalised(value: Any, key: str = "") -> Any:
    if key in REPLACEMENTS:
        return REPLACEMENTS[key](value)
    if isinstance(value, dict):
        return {name: _normalised(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_normalised(item) for item in value]
    return value


def _identifier(value: Any) -> Any:
    return re.sub("-[0-9a-f]{16}$", "-<16 hex>", value)


def _signature(value: Any) -> Any:
    assert re.fullmatch("[0-9a-f]{32}", value)
    return "<signature>"


def _time(value: Any) -> str:
    assert type(value) is int
    assert value > 1_700_000_000
    return "<time>"


def _text(value: Any) -> Any:
    """Texts differ; whether there is one, an empty one or null does not. Content may also be a list of blocks."""
    if isinstance(value, list):
        return _normalised(value)
    return "<text>" if isinstance(value, str) and value else value


def _fingerprint(value: Any) -> Any:
    return re.sub("-[0-9a-f]{8}$", "-<8 hex>", value)


def _token_ids(value: Any) -> Any:
    return "<token ids>" if value and all(type(token) is int for token in value) else value


def _number(value: Any) -> Any:
    return f"<{type(value).__name__}>" if isinstance(value, int | float) else value


def _logprobs(value: Any) -> Any:
    """The values and tokens are the engine's; keys, their order and the number of entries are not."""
    if isinstance(value, dict) and "text_offset" in value:
        assert all(top and all(type(p) is float for p in top.values()) for top in value["top_logprobs"])
        return {name: items if name == "text_offset" else [name] * len(items) for name, items in value.items()}
    return _logprob_entries(value)


def _logprob_entries(value: Any) -> Any:
    if isinstance(value, list):
        return [_logprob_entries(item) for item in value]
    if isinstance(value, dict):
        if "bytes" in value:
            assert bytes(value["bytes"]).decode() == value["token"]
        return {k: _logprob_entries(v) if k.endswith(("content", "logprobs")) else f"<{k}>" for k, v in value.items()}
    return value


def _times(value: Any) -> Any:
    return {name: _number(item) for name, item in value.items()} if isinstance(value, dict) else value


def _vector(value: Any) -> Any:
    """Numbers, as text or as bytes in base64. `data` is the name of other lists, too."""
    if isinstance(value, str):
        assert base64.b64decode(value, validate=True)
        return "<base64>"
    if value and all(type(number) is float for number in value):
        return "<vector>"
    return [_normalised(item) for item in value]


def _vector_shape(value: Any) -> str:
    """How many numbers a vector has differs from model to model."""
    return f"<{len(value)} dimensions>"


def _transfer(value: Any) -> Any:
    """The values and most keys depend on the KV connector."""
    if isinstance(value, dict):
        assert {"remote_host", "remote_port"} <= value.keys()
        return "<kv_transfer_params>"
    return value


# How each key's value is replaced by what of it must be equal.
REPLACEMENTS = {
    "id": _identifier,
    "request_id": _identifier,
    "created": _time,
    "content": _text,
    "text": _text,
    "system_fingerprint": _fingerprint,
    "token_ids": _token_ids,
    "logprobs": _logprobs,
    "reasoning": _text,
    "reasoning_tokens": _number,
    "cached_tokens": _number,
    "created_cache_tokens": _number,
    "cache_read_input_tokens": _number,
    "cache_creation_input_tokens": _number,
    "thinking": _text,
    "signature": _signature,
    "partial_json": _text,
    "metrics": _times,
    "embedding": _vector,
    "data": _vector,
    "score": _number,
    "relevance_score": _number,
    "shape": _vector_shape,
    "end": _number,
    "kv_transfer_params": _transfer,
}
