"""Every recorded exchange with vLLM 0.33.0 that concerns the served routes, repeated against our server."""

import json
import re
from collections.abc import Callable
from typing import Any

import captures
import pytest
from captures import Capture
from raw_http import Reply
from server import INSTANT, TINY, ServerPool

# ---- What does not apply ------------------------------------------------------------------------------------

AIBRIX_401 = "AIBrix's 401 is an OpenAI error object with the code invalid_api_key"
AIBRIX_ROUTES = "AIBrix's LoRA and sleep routes are always on"
AIBRIX_PATHS = "AIBrix's paths of missing adapters contain nonexistent or /invalid/"
ALL_TASKS = "AIBrix's mock serves all tasks with one model"
DIMENSIONS = "AIBrix's clients ask for vectors of a size"
OTHER_STATE = "the same shape, of another state of the engine"
NO_MARKERS = "the recording's engine fails on the marker ERRFIN in a prompt; ours fails on no text"

DIFFERENT: dict[str, str] = {
    "s2_noauth": AIBRIX_401,
    "s2_badauth": AIBRIX_401,
    "s2_badpath_noauth": AIBRIX_401,
    "lora_disabled": AIBRIX_ROUTES,
    "s2_lload_nf": AIBRIX_PATHS,
    "sleep_disabled": AIBRIX_ROUTES,
    "e_404v1": ALL_TASKS,
    "s3_chat": ALL_TASKS,
    "s3_classify": ALL_TASKS,
    "s3_emb_ids": DIMENSIONS,
    "serverinfo_disabled": AIBRIX_ROUTES,
    "s2_is_sleeping": OTHER_STATE,
    "s2_ispaused": OTHER_STATE,
    "e_errfin": NO_MARKERS,
    "e_errfin_stream": NO_MARKERS,
    "e_errfin_cmpl_stream": NO_MARKERS,
    "msgs_errfin": NO_MARKERS,
}

# ---- With which flags the server is started -----------------------------------------------------------------

# Answers of 2 tokens and the end of sequence: "SAY[Hi]YAS" made the recording's engine give as many.
SHORT = ("--output-tokens-mean", "3", "--output-tokens-std-dev", "0")
DEFAULT = ("/models/tiny", *TINY, *INSTANT)
SECOND = (
    *("/models/tiny", "--tokenizer", TINY[1], "--served-model-name", "tiny", "--max-model-len", "512", *INSTANT),
    *("--enable-request-id-headers", "--enable-server-load-tracking", "--enable-prompt-tokens-details"),
    *("--enable-lora", "--max-loras", "2", "--lora-modules", "adA=/models/loraA"),
    *('{"name": "adB", "path": "/models/loraB", "base_model_name": "tiny"}',),
    *("--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--reasoning-parser", "deepseek_r1"),
    # Recorded at servers of their own; these two change no other answer.
    *("--root-path", "/proxy", "--max-num-queued-reqs", "4"),
)
EMBEDDING = ("--tokenizer", TINY[1], "--served-model-name", "emb", "--max-model-len", "64", *INSTANT)

GUARDED = ("--api-key", "k1", "k2")
ECHO = ("--mode", "echo")
MEASURED = (*SECOND, *GUARDED, *ECHO, "--enable-per-request-metrics", "--inter-token-latency", "1")

FLAGS_OF_ONE: dict[str, tuple[str, ...]] = {
    # Repeats the user's message, so that the stop string is met.
    "chat_stop": (*DEFAULT, "--mode", "echo"),
    # One token and the end of sequence, as "SAY[A]YAS".
    "cmpl_multi": (*DEFAULT, "--output-tokens-mean", "2", "--output-tokens-std-dev", "0"),
    # Recorded when adC had been loaded.
    # No other answer must see an engine that sleeps or is paused.
    **dict.fromkeys(("s2_sleep", "s2_pause"), (*SECOND, *SHORT, "--max-cpu-loras", "5")),
    "s2_lload_inplace": (*SECOND, *SHORT, *GUARDED, "--lora-modules", "adC=/adapters/c"),
    "s2_lload_dup": (*SECOND, *SHORT, *GUARDED, "--lora-modules", "adC=/adapters/c"),
    "s2_lunload_ok": (*SECOND, *SHORT, *GUARDED, "--lora-modules", "adC=/adapters/c"),
    # No other answer must see what this one loads.
    "s2_lload_ok": (*SECOND, *SHORT, *GUARDED, "--max-cpu-loras", "4"),
    # Recorded without the second adapter.
    "s2_rootpath": (*SECOND, *SHORT, "--lora-modules", "adA=/models/loraA"),
    # Recorded later, at a server with one flag more.
    **dict.fromkeys(("s2_reason", "s2_reason_noinc", "s2_tool_na"), MEASURED),
    **dict.fromkeys(("s2_tool_named", "s2_tool_required", "s2_msgs_tool", "s2_msgs_tool_stream"), (*SECOND, *ECHO)),
    "s2_tool_stream": (*SECOND, *ECHO, "--enable-force-include-usage"),
    "s2_kvt_stream": (*SECOND, *ECHO, "--enable-force-include-usage"),
    "s2_ti": (*SECOND, *SHORT, "--enable-tokenizer-info-endpoint"),
    **dict.fromkeys(("s2_render", "s2_render_c", "s2_abort"), (*SECOND, *SHORT, "--enable-scale-out")),
    # Longer than the answers that they ask for.
    **dict.fromkeys(("s2_toktok", "s2_toktok_stream"), (*SECOND, "--enable-scale-out")),
    "s2_force_usage": (*SECOND, *SHORT, "--enable-force-include-usage"),
}


def flags(capture: Capture) -> tuple[str, ...]:
    """How the server for a capture is started."""
    if capture.name in FLAGS_OF_ONE:
        return FLAGS_OF_ONE[capture.name]
    if "Authorization" in capture.headers:
        return (*SECOND, *SHORT, *GUARDED)
    if capture.name.startswith("s3_"):
        return EMBEDDING
    return (*SECOND, *SHORT) if capture.name.startswith("s2_") else (*DEFAULT, *SHORT)


# ---- What the recording had and the server for it has not ---------------------------------------------------


def begun_with_a_tag(document: Any) -> None:
    """The only token was text, which the recording's engine wrote without <think>."""
    document["choices"][0]["message"]["reasoning"] = ""


def without_transfer(document: Any) -> None:
    """The recording's engine said that it sent the KV cache to another one."""
    document["kv_transfer_params"] = None


def where_ours_is(document: Any) -> None:
    document["name_or_path"] = TINY[1]


def other_winner(document: Any) -> None:
    """To the recording's engine all texts were equally similar."""
    document["results"][0]["index"] = 1


ADAPTATIONS: dict[str, tuple[Callable[[Any], None], ...]] = {
    "s2_content_parts": (without_transfer,),
    "s2_service_tier": (without_transfer, begun_with_a_tag),
    "s2_bestof": (without_transfer,),
    "s2_dprank_bad": (without_transfer,),
    "s2_emptymodel": (without_transfer,),
    "s2_toktok": (without_transfer,),
    "s2_lora_chat": (without_transfer,),
    "s3_rerank": (other_winner,),
    "s2_ti": (where_ours_is,),
}


# What a user says in the echo mode instead of the recorded message, so that our model says what the recording's said.
# A finished reasoning in the prompt's end would mean that a stream has none.
_CALLING = '<think>why</think>ok<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>'
_SAYING = [{"role": "user", "content": _CALLING}, {"role": "assistant", "content": "<think>"}]
SAID: dict[str, list[dict[str, str]]] = {
    "s2_kvt_stream": [{"role": "user", "content": "H is nine"}],
    "s2_msgs_tool": _SAYING,
    "s2_msgs_tool_stream": _SAYING,
    "s2_tool_required": [{"role": "user", "content": '</think>[{"name":"f","parameters":{"a":1}}]'}],
    "s2_tool_stream": _SAYING,
}


def sent(capture: Capture) -> bytes | None:
    """The body to send: the recorded one, save for what SAID replaces."""
    if capture.name not in SAID or capture.body is None:
        return capture.body
    return json.dumps({**json.loads(capture.body), "messages": SAID[capture.name]}).encode()


def compared(name: str, reply: Reply) -> str:
    text = captures.comparable(reply)
    return re.sub('"(prompt|input)_tokens": \\d+', '"prompt_tokens": "<count>"', text) if name in SAID else text


def expected_reply(capture: Capture) -> Reply:
    """The recorded answer, without what the server for it was not asked for."""
    reply = capture.reply
    body = reply.body
    for adapt in ADAPTATIONS.get(capture.name, ()):
        document = json.loads(body)
        adapt(document)
        body = json.dumps(document, separators=(",", ":")).encode()
    if capture.name == "s2_force_usage":
        body = body.replace(b'{"remote_host":"h","remote_port":1}', b"null")
    return Reply(reply.status, reply.headers, body)


# ---- The tests ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in captures.names() if name not in DIFFERENT])
def test_capture(name: str, servers: ServerPool) -> None:
    capture = captures.load(name)
    reply = servers.get(*flags(capture)).request(capture.method, capture.path, sent(capture), capture.headers)
    assert compared(name, reply) == compared(name, expected_reply(capture))


def test_each_difference_is_recorded() -> None:
    assert set(captures.names()) >= {*DIFFERENT, *FLAGS_OF_ONE, *ADAPTATIONS, *SAID}


def test_lengths_are_those_of_the_bodies(servers: ServerPool) -> None:
    for path in ("/v1/models", "/health", "/nope"):
        reply = servers.get(*DEFAULT, *SHORT).get(path)
        assert reply.header("content-length") == str(len(reply.body))
