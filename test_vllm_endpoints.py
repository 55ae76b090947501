#!/usr/bin/env python3
"""Check the vLLM-specific endpoints and the raw HTTP behaviour of a running server with requests.

    python test_vllm_endpoints.py [--base-url http://localhost:8000] [--api-key KEY] [--model NAME]

One line per check, then "N passed, N failed". Exit code 0: all passed; 1: a check failed; 2: the checks
could not begin (no server, a refused key, requests not installed). Works for this mock and for a real
`vllm serve` alike; what only one of them has is a note, not a failure.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import sys
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

try:
    import requests
except ImportError as error:
    # Not fatal here: main() says it in one line, and a test runner may import this file.
    requests = None  # type: ignore[assignment]
    SDK_PROBLEM = str(error)

try:
    from prometheus_client.parser import text_string_to_metric_families
except ImportError:
    text_string_to_metric_families = None  # type: ignore[assignment]

TIMEOUT_SECONDS = 60.0
QUESTION: list[Any] = [{"role": "user", "content": "Say this is a test!"}]


@dataclass
class Target:
    """The server under test."""

    base_url: str
    api_key: str
    # The model to ask for, and the one that labels the metrics: the first of /v1/models.
    model: str
    base_model: str

    def call(self, method: str, path: str, key: str | None = None, **options: Any) -> requests.Response:
        """One request with the API key, or with another one; redirects are not followed."""
        authorization = f"Bearer {self.api_key if key is None else key}"

        def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
            # As an auth hook, so that a ~/.netrc entry does not replace the key.
            if authorization != "Bearer ":
                request.headers["Authorization"] = authorization
            return request

        options = {"timeout": TIMEOUT_SECONDS, "allow_redirects": False, "auth": sign, **options}
        return requests.request(method, self.base_url + path, **options)

    def get(self, path: str) -> requests.Response:
        return self.call("GET", path)

    def post(self, path: str, body: Any) -> requests.Response:
        return self.call("POST", path, json=body)

    def chat(self, **parameters: Any) -> requests.Response:
        """A chat completion of at most 8 tokens unless told otherwise."""
        body = {"model": self.model, "messages": QUESTION, "max_tokens": 8, **parameters}
        return self.post("/v1/chat/completions", body)


# ---- The runner -------------------------------------------------------------------------------------------


class NotOffered(Exception):
    """This server has no such thing, and need not: a note, neither passed nor failed."""


CHECKS: list[tuple[str, Callable[[Target], Any]]] = []


def check(title: str) -> Callable[[Callable[[Target], Any]], Callable[[Target], Any]]:
    """Register a check. It passes unless it raises; a string that it returns is a remark."""

    def register(function: Callable[[Target], Any]) -> Callable[[Target], Any]:
        CHECKS.append((title, function))
        return function

    return register


def expect(condition: Any, reason: str) -> None:
    if not condition:
        raise AssertionError(reason)


def equal(actual: Any, expected: Any, what: str) -> None:
    expect(actual == expected, f"{what} is {actual!r}, expected {expected!r}")


def run_checks(target: Target) -> int:
    """Run all checks, print a line for each and the summary; returns the exit code, 0 or 1."""
    passed = failed = 0
    for title, function in CHECKS:
        try:
            remark = function(target)
        except NotOffered as why:
            print(f"note  {title}: {why}", flush=True)
        except Exception as error:
            failed += 1
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            print(f"FAIL  {title}: {kind}{' '.join(str(error).split())[:300]}", flush=True)
        else:
            passed += 1
            print(f"ok    {title}" + (f" ({remark})" if remark else ""), flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


# ---- What several checks need -----------------------------------------------------------------------------


def good(response: requests.Response) -> Any:
    """The JSON body of a 200 answer."""
    equal(response.status_code, 200, f"the status ({response.text[:150]})")
    equal(media_type(response), "application/json", "content-type")
    return response.json()


def media_type(response: requests.Response) -> str:
    return response.headers.get("content-type", "").split(";")[0]


def check_error(response: requests.Response, status: int, kind: str, param: str | None = None) -> str:
    """vLLM's error object: message, type, param and code, the latter equal to the status."""
    equal(response.status_code, status, f"the status ({response.text[:150]})")
    equal(media_type(response), "application/json", "content-type")
    error = response.json().get("error")
    expect(isinstance(error, dict), f"the body has no error object: {response.text[:150]}")
    equal(sorted(error), ["code", "message", "param", "type"], "the keys of the error")
    expect(error["message"], "the message is empty")
    equal((error["type"], error["code"]), (kind, status), "type and code")
    if param is not None:
        equal(error["param"], param, "param")
    return " ".join(error["message"].split())[:80]


# ---- Health and information -------------------------------------------------------------------------------


@check("GET /health is 200 with an empty body")
def health(target: Target) -> None:
    response = target.get("/health")
    equal((response.status_code, response.text), (200, ""), "status and body")


@check("GET /ready is 200 and ready")
def ready(target: Target) -> None:
    response = target.get("/ready")
    if response.status_code == 404:
        raise NotOffered("not offered here (a real vLLM has no /ready)")
    equal(good(response), {"status": "ready"}, "the body")


@check("GET and POST /ping are 200 with an empty body")
def ping(target: Target) -> None:
    for method in ("GET", "POST"):
        response = target.call(method, "/ping")
        equal((response.status_code, response.text), (200, ""), f"status and body of {method}")


@check("GET /version names the version")
def version(target: Target) -> str:
    body = good(target.get("/version"))
    equal(list(body), ["version"], "the keys")
    expect(re.match(r"\d+\.\d+", body["version"]), f"version is {body['version']!r}")
    return body["version"]


@check("GET /openapi.json describes the routes, /docs shows them")
def openapi(target: Target) -> str:
    response = target.get("/openapi.json")
    if response.status_code == 404:
        raise NotOffered("started with --disable-fastapi-docs")
    paths = good(response)["paths"]
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/models", "/tokenize"):
        expect(path in paths, f"{path} is not described")
    for page in ("/docs", "/redoc", "/docs/oauth2-redirect"):
        equal(media_type(target.get(page)), "text/html", f"content-type of {page}")
    return f"{len(paths)} paths"


@check("GET /load tells the server load as an integer")
def load(target: Target) -> None:
    body = good(target.get("/load"))
    expect(type(body.get("server_load")) is int, f"the body is {body}")


@check("GET /v1/models: vLLM's model cards")
def models(target: Target) -> str:
    body = good(target.get("/v1/models"))
    equal(body["object"], "list", "object")
    for card in body["data"]:
        missing = {"id", "object", "created", "owned_by", "root", "parent", "max_model_len", "permission"} - {*card}
        expect(not missing, f"the card of {card.get('id')!r} lacks {sorted(missing)}")
    return ", ".join(card["id"] for card in body["data"])


# ---- Tokens -----------------------------------------------------------------------------------------------


def tokenize(target: Target, **body: Any) -> Any:
    answer = good(target.post("/tokenize", {"model": target.model, **body}))
    equal(list(answer), ["count", "max_model_len", "tokens", "token_strs"], "the keys of /tokenize")
    equal(answer["count"], len(answer["tokens"]), "count")
    return answer


@check("/tokenize and /detokenize: text comes back unchanged")
def round_trip(target: Target) -> str:
    remarks = []
    for text in ("Hello world", "Grüße, 世界 🚀\n\tend"):
        tokens = tokenize(target, prompt=text, add_special_tokens=False)["tokens"]
        expect(tokens, f"no tokens for {text!r}")
        answer = good(target.post("/detokenize", {"model": target.model, "tokens": tokens}))
        equal(answer, {"prompt": text}, "the body of /detokenize")
        remarks.append(f"{len(text)} characters = {len(tokens)} tokens")
    return ", ".join(remarks)


@check("/tokenize: the empty prompt is answered, with no tokens of its own")
def tokenize_empty(target: Target) -> None:
    equal(tokenize(target, prompt="", add_special_tokens=False)["tokens"], [], "tokens")
    tokenize(target, prompt="")


@check("/tokenize: messages have as many tokens as the chat's prompt")
def tokenize_messages(target: Target) -> str:
    count = tokenize(target, messages=QUESTION)["count"]
    equal(count, good(target.chat(max_tokens=1))["usage"]["prompt_tokens"], "count")
    without = tokenize(target, messages=QUESTION, add_generation_prompt=False)["count"]
    expect(0 < without <= count, f"{without} tokens without the generation prompt, {count} with it")
    return f"{count} tokens"


@check("/tokenize: return_token_strs names each token")
def tokenize_strings(target: Target) -> None:
    equal(tokenize(target, prompt="Hello")["token_strs"], None, "token_strs unless asked for")
    answer = tokenize(target, prompt="Hello", return_token_strs=True)
    equal(len(answer["token_strs"]), answer["count"], "the number of token_strs")


@check("/detokenize: no tokens are the empty text")
def detokenize_empty(target: Target) -> None:
    equal(good(target.post("/detokenize", {"tokens": []})), {"prompt": ""}, "the body")


@check("/tokenize and /detokenize refuse what they cannot read")
def tokenize_errors(target: Target) -> None:
    check_error(target.post("/tokenize", {"model": target.model}), 400, "Bad Request")
    check_error(target.post("/detokenize", {"tokens": [-1]}), 400, "Bad Request", "body.tokens.0")
    check_error(target.post("/tokenize", {"model": "nope", "prompt": "x"}), 404, "NotFoundError", "model")


# ---- Errors -----------------------------------------------------------------------------------------------


@check("POST /pause and /resume, /sleep and /wake_up")
def pause_and_sleep(target: Target) -> str:
    paused = target.call("POST", "/pause")
    if paused.status_code == 404:
        return "not offered here (vLLM needs VLLM_SERVER_DEV_MODE=1)"
    try:
        equal(good(paused), {"status": "paused"}, "answer to /pause")
        equal(good(target.call("GET", "/is_paused")), {"is_paused": True}, "state")
        body = {"model": target.model, "prompt": "Hello", "max_tokens": 1}
        check_error(target.call("POST", "/v1/completions", json=body), 503, "ServiceUnavailableError")
    finally:
        equal(good(target.call("POST", "/resume")), {"status": "resumed"}, "answer to /resume")
    equal(good(target.call("POST", "/sleep?level=1")), {"status": "sleeping", "level": 1}, "answer to /sleep")
    equal(good(target.call("GET", "/is_sleeping")), {"is_sleeping": True}, "state")
    half = {"status": "sleeping", "tags": ["weights"]}
    equal(good(target.call("POST", "/wake_up?tags=weights")), half, "answer to half a wake-up")
    equal(good(target.call("POST", "/wake_up")), {"status": "awake", "tags": None}, "answer to /wake_up")
    equal(good(target.call("POST", "/reset_prefix_cache")), {"success": True}, "answer to /reset_prefix_cache")
    check_error(target.call("POST", "/sleep?level=9"), 400, "Bad Request", "query.level")
    return "refused while paused"


@check("/abort_requests, /collective_rpc, /get_world_size and caches of the development mode")
def workers(target: Target) -> str:
    aborted = target.call("POST", "/abort_requests", json={"request_ids": ["nobody"]})
    if aborted.status_code == 404:
        return "not offered here (vLLM needs VLLM_SERVER_DEV_MODE=1)"
    equal(good(aborted), {"status": "aborted", "aborted": 1}, "answer to /abort_requests")
    check_error(target.call("POST", "/collective_rpc", json={}), 400, "Bad Request")
    expect(good(target.call("GET", "/get_world_size"))["world_size"] >= 1, "no worker")
    for path in ("/reset_mm_cache", "/reset_encoder_cache"):
        equal(target.call("POST", path).status_code, 200, f"status of {path}")
    check_error(target.call("POST", "/release_kv_cache_memory"), 400, "BadRequestError")
    equal(set(good(target.get("/server_info"))), {"vllm_config", "vllm_env", "system_env"}, "keys of /server_info")
    return "as in development mode"


@check("POST /update_weight_version and GET /weight_info")
def weight_version(target: Target) -> str:
    told = target.call("GET", "/weight_info")
    if told.status_code == 404:
        return "not offered here (vLLM needs VLLM_SERVER_DEV_MODE=1)"
    version = f"step-{os.getpid()}"
    updated = target.call("POST", "/update_weight_version", json={"new_version": version})
    equal(good(updated), {"success": True, "new_version": version}, "answer to /update_weight_version")
    equal(good(target.call("GET", "/weight_info")), {"weight_version": version}, "what is served")
    check_error(target.call("POST", "/weight_checker", json={}), 400, "Bad Request", "body.action")
    return version


@check("a trainer's new weights, from /init_weight_transfer_engine to /shutdown_weight_transfer_engine")
def weight_transfer(target: Target) -> str:
    started = target.post("/init_weight_transfer_engine", {"init_info": {}})
    if started.status_code != 200:
        raise NotOffered("no weight transfer here (vLLM needs VLLM_SERVER_DEV_MODE=1 and --weight-transfer-config)")
    for path, body in (
        ("/start_weight_update", {}),
        ("/start_draft_weight_update", {}),
        ("/update_weights", {"update_info": {}}),
        ("/finish_weight_update", {}),
        ("/shutdown_weight_transfer_engine", {}),
    ):
        expect(good(target.post(path, body))["message"], f"{path} says nothing")
    return "no weights were moved"


@check("/start_profile, /stop_profile and /tokenizer_info are there with their flags alone")
def flagged_routes(target: Target) -> str:
    profiled = [target.call("POST", path).status_code for path in ("/start_profile", "/stop_profile")]
    expect(profiled in ([404, 404], [200, 200]), f"the statuses of the profile are {profiled}")
    told = target.get("/tokenizer_info")
    expect(told.status_code in (200, 404), f"the status of /tokenizer_info is {told.status_code}")
    return ", ".join(map(str, (*profiled, told.status_code)))


@check("POST /is_scaling_elastic_ep and /scale_elastic_ep")
def elastic_scaling(target: Target) -> None:
    equal(good(target.call("POST", "/is_scaling_elastic_ep"))["is_scaling_elastic_ep"], False, "state")
    check_error(target.call("POST", "/scale_elastic_ep", json={}), 400, "Bad Request")


@check("POST /v1/load_lora_adapter: the adapter is a model until it is unloaded")
def lora_adapter(target: Target) -> str:
    name = f"adapter-{os.getpid()}"
    loaded = target.call("POST", "/v1/load_lora_adapter", json={"lora_name": name, "lora_path": f"/adapters/{name}"})
    if loaded.status_code in (404, 405):
        return "not offered here (vLLM needs VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 and a real adapter)"
    equal(loaded.status_code, 200, "status of loading")
    cards = {card["id"]: card for card in good(target.call("GET", "/v1/models"))["data"]}
    expect(name in cards, "the adapter is not among the models")
    equal(cards[name]["root"], f"/adapters/{name}", "root of the adapter")
    body = {"model": name, "prompt": "Hello", "max_tokens": 1}
    equal(good(target.call("POST", "/v1/completions", json=body))["model"], name, "model of an answer")
    again = target.call("POST", "/v1/load_lora_adapter", json={"lora_name": name, "lora_path": "/adapters/x"})
    check_error(again, 400, "InvalidUserInput")
    equal(target.call("POST", "/v1/unload_lora_adapter", json={"lora_name": name}).status_code, 200, "unloading")
    check_error(target.call("POST", "/v1/unload_lora_adapter", json={"lora_name": name}), 404, "NotFoundError")
    return name


@check("LoRA adapters by SGLang's and SageMaker's routes")
def other_lora_routes(target: Target) -> str:
    name = f"other-{os.getpid()}"
    if target.post("/load_lora_adapter", {"lora_name": name, "lora_path": f"/adapters/{name}"}).status_code == 404:
        raise NotOffered("not offered here (vLLM has them below /v1)")
    equal(target.post("/unload_lora_adapter", {"lora_name": name}).status_code, 200, "unloading")
    registered = target.post("/adapters", {"name": name, "src": f"/adapters/{name}"})
    equal((registered.status_code, registered.text), (200, f"Adapter {name} registered"), "SageMaker's answer")
    gone = target.call("DELETE", f"/adapters/{name}")
    equal((gone.status_code, gone.text), (200, f"Adapter {name} unregistered"), "SageMaker's other answer")
    return name


@check("errors: an unknown route is 404 in JSON")
def unknown_route(target: Target) -> None:
    for path in ("/no-such-route", "/v1/no-such-route"):
        response = target.get(path)
        equal((response.status_code, response.json()), (404, {"detail": "Not Found"}), f"{path}: status, body")


@check("errors: a wrong method is 405 in JSON with Allow")
def wrong_method(target: Target) -> None:
    for method, path, allowed in (("GET", "/v1/chat/completions", "POST"), ("DELETE", "/v1/models", "GET")):
        response = target.call(method, path)
        equal(response.status_code, 405, f"the status of {method} {path}")
        equal(response.json(), {"detail": "Method Not Allowed"}, f"the body of {method} {path}")
        equal(response.headers.get("allow"), allowed, f"Allow of {method} {path}")


@check("errors: a trailing slash is redirected with 307")
def trailing_slash(target: Target) -> None:
    response = target.get("/v1/models/")
    equal((response.status_code, response.text), (307, ""), "status and body")
    expect(response.headers.get("location", "").endswith("/v1/models"), f"headers: {response.headers}")


@check("errors: malformed JSON is 400 and says where")
def malformed_json(target: Target) -> None:
    headers = {"Content-Type": "application/json"}
    for body, param in (('{"model":"x",}', "body.13"), ("", "body"), ("[1]", "body")):
        response = target.call("POST", "/v1/chat/completions", data=body, headers=headers)
        check_error(response, 400, "Bad Request", param)


@check("errors: another media type than JSON is 400")
def media_types(target: Target) -> str:
    body = json.dumps({"model": target.model, "messages": QUESTION, "max_tokens": 1})
    path, parameters = "/v1/chat/completions", {"Content-Type": "application/json; charset=utf-8"}
    good(target.call("POST", path, data=body, headers=parameters))
    return check_error(target.call("POST", path, data=body, headers={"Content-Type": "text/plain"}), 400, "Bad Request")


@check("errors: a missing field is 400 with its place")
def missing_field(target: Target) -> None:
    response = target.post("/v1/chat/completions", {"model": target.model})
    check_error(response, 400, "Bad Request", "body.messages")


@check("errors: a value out of range is 400 with the parameter")
def out_of_range(target: Target) -> str:
    return check_error(target.chat(top_p=1.5), 400, "BadRequestError", "top_p")


@check("errors: an unknown model is 404 in JSON, also for a stream")
def unknown_model(target: Target) -> None:
    for stream in (False, True):
        check_error(target.chat(model="no-such-model", stream=stream), 404, "NotFoundError", "model")


@check("errors: without the API key /v1 is 401, while /health stays open")
def missing_key(target: Target) -> None:
    response = target.call("GET", "/v1/models", key="")
    equal(target.call("GET", "/health", key="").status_code, 200, "the status of /health")
    if response.status_code == 200:
        raise NotOffered("this server asks for no key")
    equal(response.status_code, 401, "the status")
    expect(response.json().get("error"), f"the body is {response.text[:150]}")


# ---- Streams as bytes -------------------------------------------------------------------------------------


def stream_events(response: requests.Response) -> list[Any]:
    """The JSON of each event of a raw stream, after checks of its headers and framing."""
    equal(response.status_code, 200, f"the status ({response.text[:150]})")
    equal(media_type(response), "text/event-stream", "content-type")
    body = response.content
    expect(b"\r" not in body, "the stream contains a carriage return")
    expect(body.endswith(b"data: [DONE]\n\n"), f"the stream ends with {body[-60:]!r}")
    # Comments are legal and ignored: `vllm serve --sse-keep-alive-interval` sends them.
    events = [event for event in body.split(b"\n\n")[:-1] if not event.startswith(b":")]
    for event in events:
        expect(event.startswith(b"data: ") and b"\n" not in event, f"not one data line: {event[:80]!r}")
    chunks = [json.loads(event[len(b"data: ") :]) for event in events[:-1]]
    expect(chunks, "the stream has no chunks")
    for chunk in chunks:
        equal(list(chunk)[:5], ["id", "object", "created", "model", "choices"], "the first keys of a chunk")
    for key in ("id", "object", "created", "model"):
        equal(len({chunk[key] for chunk in chunks}), 1, f"the number of distinct values of {key}")
    return chunks


@check("stream: framing and chunks of a chat completion")
def chat_stream(target: Target) -> str:
    chunks = stream_events(target.chat(stream=True, stream_options={"include_usage": True}))
    equal(chunks[0]["object"], "chat.completion.chunk", "object")
    equal(chunks[0]["choices"][0]["delta"], {"role": "assistant", "content": ""}, "the first delta")
    *parts, last = chunks
    finishes = [part["choices"][0]["finish_reason"] for part in parts]
    expect(finishes[-1] in ("stop", "length"), f"the last finish_reason is {finishes[-1]!r}")
    equal(set(finishes[:-1]), {None}, "the finish reasons before")
    equal(last["choices"], [], "choices of the usage chunk")
    usage = last["usage"]
    equal(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"], "total_tokens")
    return f"{len(chunks)} chunks for {usage['completion_tokens']} tokens"


@check("stream: framing and chunks of a completion")
def completion_stream(target: Target) -> None:
    body = {"model": target.model, "prompt": "Once upon a time", "max_tokens": 8, "stream": True}
    chunks = stream_events(target.post("/v1/completions", body))
    equal(chunks[0]["object"], "text_completion", "object")
    expect(all("text" in chunk["choices"][0] for chunk in chunks), "a chunk has no text")
    expect(chunks[-1]["choices"][0]["finish_reason"], "the last chunk has no finish reason")


@check("stream: continuous_usage_stats puts a rising usage into each chunk")
def continuous_usage(target: Target) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    chunks = stream_events(target.chat(stream=True, stream_options=options))
    expect(all(chunk.get("usage") for chunk in chunks), "a chunk has no usage")
    counts = [chunk["usage"]["completion_tokens"] for chunk in chunks]
    equal(counts, sorted(counts), "the sequence of completion_tokens")
    equal(len({chunk["usage"]["prompt_tokens"] for chunk in chunks}), 1, "the number of prompt counts")


@check("stream: stream_options may be null or empty")
def empty_stream_options(target: Target) -> None:
    choices: tuple[Any, ...] = (None, {})
    for options in choices:
        stream_events(target.chat(stream=True, stream_options=options, max_tokens=2))


@check("stream: without stream, stream_options are refused")
def stream_options_alone(target: Target) -> None:
    response = target.chat(stream_options={"include_usage": True})
    check_error(response, 400, "BadRequestError", "stream_options")


# ---- Anthropic's Messages -----------------------------------------------------------------------------------


@check("/v1/messages: an answer, and as many input tokens as counted")
def messages(target: Target) -> None:
    body = {"model": target.model, "messages": QUESTION, "max_tokens": 8}
    answer = good(target.post("/v1/messages", body))
    equal((answer["type"], answer["role"]), ("message", "assistant"), "type and role")
    expect(answer["content"], "no content")
    expect(answer["stop_reason"] in ("end_turn", "max_tokens"), f"the stop reason is {answer['stop_reason']!r}")
    usage = answer["usage"]
    expect(1 <= usage["output_tokens"] <= 8, f"output_tokens is {usage['output_tokens']}")
    counted = good(target.post("/v1/messages/count_tokens", body))
    told = usage["input_tokens"] + (usage.get("cache_read_input_tokens") or 0)
    equal(counted["input_tokens"], told, "input_tokens")


@check("/v1/messages: a stream of named events")
def messages_stream(target: Target) -> None:
    body = {"model": target.model, "messages": QUESTION, "max_tokens": 8, "stream": True}
    response = target.post("/v1/messages", body)
    equal(response.status_code, 200, "the status")
    names = re.findall(r"^event: (.*)$", response.text, re.MULTILINE)
    expect(names[0] == "message_start" and names[-2:] == ["message_delta", "message_stop"], f"the events are {names}")
    equal(names.count("content_block_start"), names.count("content_block_stop"), "the number of closed blocks")


@check("/v1/messages: errors have Anthropic's shape")
def messages_errors(target: Target) -> None:
    body = {"model": target.model, "messages": QUESTION, "max_tokens": 8, "temperature": -1}
    response = target.post("/v1/messages", body)
    equal(response.status_code, 400, "the status")
    equal(response.json()["error"]["type"], "invalid_request_error", "the type of the error")


# ---- Batches, scores, SageMaker, decisions ------------------------------------------------------------------


@check("/v1/chat/completions/batch: a choice per conversation")
def batch(target: Target) -> None:
    body = {"model": target.model, "messages": [QUESTION, QUESTION], "max_tokens": 4}
    answer = good(target.post("/v1/chat/completions/batch", body))
    equal([choice["index"] for choice in answer["choices"]], [0, 1], "the indexes")
    equal(answer["usage"]["prompt_tokens"] % 2, 0, "the prompt tokens of two equal prompts modulo 2")


@check("/generative_scoring: probabilities of the labels add up")
def generative_scoring(target: Target) -> None:
    labels = tokenize(target, prompt="yes no", add_special_tokens=False)["tokens"][:2]
    body = {"model": target.model, "query": "Is it wet? ", "items": ["Rain.", "Sand."]}
    one = good(target.post("/generative_scoring", {**body, "label_token_ids": labels}))
    other = good(target.post("/generative_scoring", {**body, "label_token_ids": labels[::-1]}))
    for first, second in zip(one["data"], other["data"], strict=True):
        expect(abs(first["score"] + second["score"] - 1) < 1e-3, "two probabilities do not add up to 1")


@check("/invocations: the body tells the API")
def invocations(target: Target) -> None:
    chat = good(target.post("/invocations", {"messages": QUESTION, "max_tokens": 1}))
    equal(chat["object"], "chat.completion", "object")
    completion = good(target.post("/invocations", {"prompt": "Once", "max_tokens": 1}))
    equal(completion["object"], "text_completion", "object")


@check("/v1/systemone and /v1/decisions say what they miss, or that the model makes no decisions")
def decisions(target: Target) -> None:
    for path in ("/v1/systemone", "/v1/decisions"):
        equal(target.post(path, {}).status_code, 400, f"the status of {path}")
    question = {"type": "predicate", "instructions": "Is it wet?"}
    response = target.post("/v1/decisions", {"model": target.model, "input": "It rains.", "questions": [question]})
    expect(response.status_code in (200, 501), f"the status is {response.status_code}")


# ---- Scale-out ----------------------------------------------------------------------------------------------


@check("…/render, /inference/v1/generate, …/derender: three requests are as good as one")
def scale_out(target: Target) -> None:
    request = {"model": target.model, "messages": QUESTION, "max_tokens": 4, "temperature": 0}
    texts = {"model": target.model, "prompt": "Hello", "max_tokens": 8}
    asked = {
        "/v1/completions/render": texts,
        "/v1/messages/render": {"model": target.model, "messages": QUESTION, "max_tokens": 8},
        "/v1/responses/render": {"model": target.model, "input": "Hello"},
        "/v1/completions/derender": {"model": target.model, "generate_responses": [], "completion_request": texts},
        "/inference/v1/abort_requests": {"request_ids": ["nobody"]},
    }
    others = {path: target.post(path, body) for path, body in asked.items()}
    rendered = target.post("/v1/chat/completions/render", request)
    if rendered.status_code == 403:
        for answer in others.values():
            check_error(answer, 403, "PermissionDeniedError")
        for path in ("/inference/v1/generate", "/v1/chat/completions/derender"):
            check_error(target.post(path, {}), 403, "PermissionDeniedError")
        equal(rendered.json()["error"]["type"], "PermissionDeniedError", "the type of the error")
        raise NotOffered("started without --enable-scale-out")
    generated = good(target.post("/inference/v1/generate", good(rendered)))
    body = {"model": target.model, "generate_response": generated, "chat_request": request}
    whole = good(target.post("/v1/chat/completions/derender", body))
    equal(whole["choices"][0]["finish_reason"], generated["choices"][0]["finish_reason"], "the finish reason")
    one = good(target.post("/v1/chat/completions", request))
    equal(generated["usage"]["prompt_tokens"], one["usage"]["prompt_tokens"], "prompt_tokens")
    equal(whole["choices"][0]["message"]["content"], one["choices"][0]["message"]["content"], "the content")


# ---- vLLM's request and response extensions ---------------------------------------------------------------


@check("chat: X-Request-Id becomes part of the id")
def request_id(target: Target) -> None:
    own = f"check-{time.time_ns()}"
    body = {"model": target.model, "messages": QUESTION, "max_tokens": 1}
    response = target.call("POST", "/v1/chat/completions", json=body, headers={"X-Request-Id": own})
    equal(good(response)["id"], f"chatcmpl-{own}", "id")


@check("chat: min_tokens and ignore_eos lengthen the answer to the limit")
def exact_length(target: Target) -> None:
    for parameters in ({"ignore_eos": True}, {"min_tokens": 12}):
        answer = good(target.chat(max_tokens=12, **parameters))
        equal(answer["usage"]["completion_tokens"], 12, f"completion_tokens with {parameters}")


@check("chat: return_token_ids gives the ids that usage counts")
def returned_ids(target: Target) -> None:
    answer = good(target.chat(return_token_ids=True))
    equal(len(answer["prompt_token_ids"]), answer["usage"]["prompt_tokens"], "the prompt ids")
    equal(len(answer["choices"][0]["token_ids"]), answer["usage"]["completion_tokens"], "the token ids")
    equal(answer["prompt_token_ids"], tokenize(target, messages=QUESTION)["tokens"], "the prompt ids")


# ---- Pooling ----------------------------------------------------------------------------------------------


def pooled(target: Target, path: str, **fields: Any) -> Any:
    """A good answer; NotOffered if the server's model is not of the kind for this route."""
    response = target.post(path, {"model": target.model, **fields})
    if response.status_code == 404:
        raise NotOffered(f"{path} is not served for this model")
    return good(response)


TEXTS = ["The cat sat on the mat.", "Quantum field theory explains particles", "A cat sat on a mat"]


@check("/v1/embeddings: bytes come with metadata about them")
def embeddings_bytes(target: Target) -> str:
    pooled(target, "/v1/embeddings", input="a")
    fields = {"input": TEXTS, "encoding_format": "bytes", "embed_dtype": "float16"}
    response = target.post("/v1/embeddings", {"model": target.model, **fields})
    equal(media_type(response), "application/octet-stream", "content-type")
    data = json.loads(response.headers["metadata"])["data"]
    equal([entry["index"] for entry in data], [0, 1, 2], "indices")
    equal(data[-1]["end"], len(response.content), "the end of the last vector")
    equal(data[0]["end"], 2 * data[0]["shape"][0], "the bytes of a vector")
    return f"{data[0]['shape'][0]} dimensions"


@check("/score and /v1/score: a score for each pair, all spellings alike")
def score(target: Target) -> None:
    answer = pooled(target, "/score", text_1=TEXTS[0], text_2=TEXTS)
    equal([entry["index"] for entry in answer["data"]], [0, 1, 2], "indices")
    scores = [entry["score"] for entry in answer["data"]]
    expect(scores[0] > scores[2] > scores[1], f"scores are {scores}")
    other = pooled(target, "/v1/score", queries=TEXTS[0], documents=TEXTS)
    equal([entry["score"] for entry in other["data"]], scores, "the scores of /v1/score")


@check("/rerank, /v1/rerank and /v2/rerank: the best documents first, top_n of them")
def rerank(target: Target) -> None:
    for path in ("/rerank", "/v1/rerank", "/v2/rerank"):
        results = pooled(target, path, query=TEXTS[0], documents=TEXTS[1:])["results"]
        equal([result["index"] for result in results], [1, 0], "the order")
        equal(results[0]["document"]["text"], TEXTS[2], "the best document")
        equal(
            pooled(target, path, query=TEXTS[0], documents=TEXTS[1:], top_n=1)["results"], results[:1], "the best one"
        )


@check("/classify and /v1/classify: probabilities and the label of the highest")
def classify(target: Target) -> str:
    answer = pooled(target, "/classify", input=TEXTS)
    for entry in answer["data"]:
        equal(len(entry["probs"]), entry["num_classes"], "number of probabilities")
        expect(abs(sum(entry["probs"]) - 1) < 1e-3, f"probabilities are {entry['probs']}")
    equal(pooled(target, "/v1/classify", input=TEXTS)["data"], answer["data"], "the answer of /v1/classify")
    return ", ".join(entry["label"] for entry in answer["data"])


@check("/pooling: numbers of each prompt")
def pooling(target: Target) -> None:
    answer = pooled(target, "/pooling", input=TEXTS)
    equal([entry["object"] for entry in answer["data"]], ["pooling"] * 3, "objects")
    expect(answer["usage"]["prompt_tokens"] > 10, f"usage {answer['usage']}")


@check("/v2/embed: Cohere's form, by type")
def cohere_embed(target: Target) -> None:
    answer = pooled(target, "/v2/embed", texts=TEXTS, embedding_types=["float", "ubinary"])
    equal(sorted(answer["embeddings"]), ["float", "ubinary"], "the types")
    equal(len(answer["embeddings"]["float"]), 3, "number of vectors")
    equal(answer["response_type"], "embeddings_by_type", "response_type")


@check("pooling: bad requests are refused")
def pooling_refusals(target: Target) -> None:
    pooled(target, "/v1/embeddings", input="a")
    bad = {"model": target.model, "input": "a", "encoding_format": "x"}
    check_error(target.post("/v1/embeddings", bad), 400, "Bad Request", "body.encoding_format")
    check_error(target.post("/v1/embeddings", {"model": target.model, "input": []}), 400, "BadRequestError")
    check_error(target.post("/v1/embeddings", {"model": "absent-model", "input": "a"}), 404, "NotFoundError")


# ---- Sound and films --------------------------------------------------------------------------------------


def silence(seconds: float) -> bytes:
    """A wav file in which nothing is heard."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes(bytes(2 * int(seconds * 16_000)))
    return file.getvalue()


def transcribed(target: Target, file: Any, path: str = "/v1/audio/transcriptions", **fields: Any) -> requests.Response:
    """The answer to a form; NotOffered if the server's model hears nothing."""
    response = target.call("POST", path, data={"model": target.model, **fields}, files={"file": file})
    if response.status_code == 404:
        raise NotOffered("the model makes no transcriptions")
    return response


@check("/v1/audio/transcriptions: the form's refusals")
def transcription_refusals(target: Target) -> None:
    check_error(transcribed(target, ("x.wav", b"no sound")), 400, "BadRequestError")
    check_error(transcribed(target, (None, "text")), 422, "Unprocessable Entity")
    sound = ("x.wav", silence(1))
    check_error(transcribed(target, sound, response_format="x"), 400, "Bad Request", "body.response_format")
    check_error(transcribed(target, sound, language="xx"), 400, "BadRequestError")
    field = "stream_include_usage"
    check_error(transcribed(target, sound, **{field: "true"}), 400, "BadRequestError", field)


@check("/v1/audio/transcriptions: a stream with its usage")
def transcription_stream(target: Target) -> None:
    response = transcribed(target, ("x.wav", silence(2)), stream="true", stream_include_usage="true")
    chunks = stream_events(response)
    equal({chunk["object"] for chunk in chunks}, {"transcription.chunk"}, "object")
    equal(chunks[-1]["choices"], [], "the choices of the last chunk")
    expect(chunks[-1]["usage"]["completion_tokens"] > 0, "no tokens are counted")


@check("/v1/audio/translations: an object for translations")
def translation_stream(target: Target) -> None:
    chunks = stream_events(transcribed(target, ("x.wav", silence(2)), "/v1/audio/translations", stream="true"))
    equal({chunk["object"] for chunk in chunks}, {"translation.chunk"}, "object")


@check("GET /v1/audio/voices: names")
def audio_voices(target: Target) -> str:
    response = target.get("/v1/audio/voices")
    if response.status_code == 404:
        raise NotOffered("not offered here (vLLM itself has no voices)")
    return f"{len(good(response)['voices'])} voices"


@check("/v1/video/generations: a link to a playable film")
def video_generations(target: Target) -> None:
    body = {"model": target.model, "prompt": "A boat", "duration": 1, "fps": 8, "size": "64x64"}
    response = target.post("/v1/video/generations", body)
    if response.status_code == 404:
        raise NotOffered("not offered here (AIBrix's route)")
    link = good(response)["data"][0]["url"]
    equal(requests.get(link, timeout=30).content[4:8], b"ftyp", "the type of the film's first box")


@check("/v1/images/generations: a link to a picture; /v1/videos/sync: a film at once")
def pictures(target: Target) -> None:
    body = {"model": target.model, "prompt": "A boat", "size": "64x64", "response_format": "url"}
    response = target.post("/v1/images/generations", body)
    if response.status_code == 404:
        raise NotOffered("not offered here (vLLM itself draws nothing)")
    picture = requests.get(good(response)["data"][0]["url"], timeout=30)
    equal(picture.content[:4], b"\x89PNG", "the picture's first bytes")
    film = target.post("/v1/videos/sync", {"model": target.model, "prompt": "A boat", "seconds": "1", "size": "64x64"})
    equal((film.status_code, film.content[4:8]), (200, b"ftyp"), "status and the first box of the film")


@check("the mock's own routes: /set_metrics, /mock/faults and /debug/elastic_ep")
def own_routes(target: Target) -> str:
    shown = target.get("/set_metrics")
    if shown.status_code == 404:
        raise NotOffered("not offered here (they are the mock's)")
    before = good(shown)
    equal(target.post("/set_metrics", {"vllm:num_preemptions_total": 7}).status_code, 200, "setting a metric")
    equal(good(target.get("/set_metrics"))["vllm:num_preemptions_total"], 7, "what is set")
    equal(target.call("DELETE", "/set_metrics").status_code, 200, "clearing the metrics")
    if before:
        target.post("/set_metrics", before)
    rule = {"action": {"type": "error", "status": 418}, "match": {"model": "nobody-asks-for-this"}}
    added = target.post("/mock/faults", rule)
    equal(added.status_code, 200, f"adding a rule ({added.text[:150]})")
    rules = good(target.get("/mock/faults"))["rules"]
    equal(target.call("DELETE", f"/mock/faults/{rules[-1]['id']}").status_code, 200, "removing the rule")
    if len(rules) == 1:  # those of others stay
        equal(good(target.call("DELETE", "/mock/faults"))["removed"], 0, "rules that were left")
    expect(isinstance(good(target.get("/debug/requests")), list), "/debug/requests lists nothing")
    equal(good(target.get("/debug/elastic_ep")), {"is_scaling_elastic_ep": False}, "the state of scaling")
    equal(target.post("/debug/elastic_ep", {"scaling": False}).status_code, 200, "setting that state")
    return "as they were before"


# ---- Metrics ----------------------------------------------------------------------------------------------

SAMPLE_LINE = re.compile(r'([a-zA-Z_:][\w:]*)(?:\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)(?: \d+)?')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Sample = tuple[str, dict[str, str], float]


def read_samples(text: str) -> list[Sample]:
    """The samples of a Prometheus text: name, labels, value. Every line has to be readable."""
    if text_string_to_metric_families is not None:
        families = text_string_to_metric_families(text)
        return [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]
    samples = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            match = SAMPLE_LINE.fullmatch(line)
            if match is None:
                raise AssertionError(f"not a line of Prometheus text: {line[:120]!r}")
            name, labels, value = match.groups()
            samples.append((name, dict(LABEL.findall(labels or "")), float(value)))
    return samples


def scrape(target: Target) -> list[Sample]:
    response = target.get("/metrics")
    equal(response.status_code, 200, "the status of /metrics")
    equal(media_type(response), "text/plain", "content-type of /metrics")
    return read_samples(response.text)


def token_counters(target: Target) -> tuple[float, float]:
    """Prompt and generation tokens of the model so far, summed over its engines."""
    samples = scrape(target)
    return (
        sum_of(samples, "vllm:prompt_tokens_total", target.base_model),
        sum_of(samples, "vllm:generation_tokens_total", target.base_model),
    )


def sum_of(samples: list[Sample], name: str, model: str) -> float:
    labels_and_values = [(labels, value) for found, labels, value in samples if found == name]
    values = [value for labels, value in labels_and_values if labels.get("model_name") == model]
    seen = sorted({labels.get("model_name", "") for labels, _ in labels_and_values})
    expect(values, f"no {name} of model_name {model!r}, only of {seen}")
    return sum(values)


@check("/metrics: Prometheus text with vLLM's families")
def metrics_text(target: Target) -> str:
    samples = scrape(target)
    names = {name for name, _, _ in samples}
    expected = {"num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "request_success_total"}
    expected |= {"prompt_tokens_total", "generation_tokens_total"}
    for histogram in ("time_to_first_token_seconds", "e2e_request_latency_seconds"):
        expected |= {f"{histogram}_bucket", f"{histogram}_sum", f"{histogram}_count"}
    missing = sorted(name for name in expected if f"vllm:{name}" not in names)
    expect(not missing, f"missing: {', '.join(missing)}")
    sum_of(samples, "vllm:num_requests_running", target.base_model)
    how = "a pattern" if text_string_to_metric_families is None else "prometheus_client"
    return f"{len(samples)} samples, read with {how}"


@check("/metrics: histogram buckets never fall, and the last is the count")
def metrics_histograms(target: Target) -> str:
    buckets: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
    counts: dict[tuple[Any, ...], float] = {}
    for name, labels, value in scrape(target):
        series = tuple(sorted(item for item in labels.items() if item[0] != "le"))
        if name.endswith("_bucket"):
            series_buckets = buckets.setdefault((name.removesuffix("_bucket"), *series), [])
            series_buckets.append((float(labels["le"]), value))
        elif name.endswith("_count"):
            counts[(name.removesuffix("_count"), *series)] = value
    for series, pairs in buckets.items():
        values = [value for _, value in sorted(pairs)]
        equal(values, sorted(values), f"the buckets of {series[0]}")
        equal(max(pairs), (float("inf"), counts.get(series)), f"the last bucket of {series[0]}")
    return f"{len(buckets)} histogram series"


@check("/metrics: the token counters rise by the usage of a request")
def metrics_rise(target: Target) -> str:
    before = token_counters(target)
    usage = good(target.chat(ignore_eos=True))["usage"]
    wanted = (usage["prompt_tokens"], usage["completion_tokens"])
    # The engine's figures may reach /metrics a little after the answer; other clients may add to them.
    deadline = time.monotonic() + 5
    while True:
        after = token_counters(target)
        rise = (after[0] - before[0], after[1] - before[1])
        if rise[0] >= wanted[0] and rise[1] >= wanted[1]:
            return f"prompt +{rise[0]:g}, generation +{rise[1]:g}"
        expect(time.monotonic() < deadline, f"prompt and generation rose by {rise}, usage is {wanted}")
        time.sleep(0.1)


# ---- Several servers: KV events, prefill and decode ----------------------------------------------------------


@check("GET /kv_event_sources: a configuration per rank, or none")
def kv_event_sources(target: Target) -> str:
    sources = good(target.get("/kv_event_sources"))
    for rank, source in sources.items():
        expect(rank.isdecimal(), f"no rank: {rank}")
        expect(source["enable_kv_cache_events"] and source["endpoint"], f"no source: {source}")
    return ", ".join(source["endpoint"] for source in sources.values()) or "no events are published"


@check("kv_transfer_params: a prefill tells where its KV cache is, a decode goes on with it")
def prefill_and_decode(target: Target) -> str:
    told = good(target.chat(max_tokens=1, kv_transfer_params={"do_remote_decode": True, "do_remote_prefill": False}))
    params = told["kv_transfer_params"]
    if params is None:
        return "this server has no KV connector"
    for key in ("remote_engine_id", "remote_block_ids", "remote_host", "remote_port"):
        expect(params.get(key), f"no {key} in {params}")
    equal((params["do_remote_prefill"], params["do_remote_decode"]), (True, False), "the parts")
    answer = good(target.chat(max_tokens=4, kv_transfer_params=params))
    expect(answer["choices"], "no choice")
    return f"{params['remote_host']}:{params['remote_port']}"


# ---- Start ------------------------------------------------------------------------------------------------


class CannotBegin(Exception):
    """Why no check can run, in one line."""


def connect(base_url: str, api_key: str, model: str | None) -> Target:
    """Reach the server and find out its model; raises CannotBegin."""
    target = Target(base_url.rstrip("/"), api_key, model=model or "", base_model="")
    try:
        response = target.get("/v1/models")
    except requests.RequestException as error:
        # urllib3's own reason is the readable part of a failed connection.
        reason = getattr((*error.args, error)[0], "reason", error)
        raise CannotBegin(f"no server answers at {base_url}: {reason}") from None
    if response.status_code == 401:
        raise CannotBegin(f"the server at {base_url} refuses the API key (401): give --api-key")
    try:
        names = [card["id"] for card in response.json()["data"]]
    except (ValueError, KeyError, TypeError):
        hint = ": a base URL here is without /v1" if target.base_url.endswith("/v1") else ""
        raise CannotBegin(f"no model list at {base_url}/v1/models ({response.status_code}){hint}") from None
    if not names:
        raise CannotBegin(f"the server at {base_url} lists no model")
    if model and model not in names:
        raise CannotBegin(f"the server at {base_url} has no model {model!r}, only: {', '.join(names)}")
    target.model, target.base_model = model or names[0], names[0]
    return target


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Check vLLM-specific endpoints with requests.")
    parser.add_argument("--base-url", default="http://localhost:8000", help="default: %(default)s")
    parser.add_argument("--api-key", help="default: VLLM_API_KEY, then OPENAI_API_KEY, of the environment")
    parser.add_argument("--model", help="default: the first one of /v1/models")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    arguments = parse_arguments(argv)
    if requests is None:
        print(f"requests is not installed: pip install requests ({SDK_PROBLEM})", file=sys.stderr)
        return 2
    environment = os.environ.get("VLLM_API_KEY") or os.environ.get("OPENAI_API_KEY")
    try:
        target = connect(arguments.base_url, arguments.api_key or environment or "", arguments.model)
    except CannotBegin as why:
        print(" ".join(str(why).split()), file=sys.stderr)
        return 2
    print(f"Checking {arguments.base_url}, model {target.model}, requests {requests.__version__}")
    return run_checks(target)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
