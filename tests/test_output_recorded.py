"""Raw texts of a model as vLLM 0.33.0 (hermes, deepseek_r1) read them, whole and in streams, token by token.

A line of parsed.jsonl has the text, the request's fields beside the messages, and what vLLM answered: of a whole
answer the message, the finish reason and the counts of all and of reasoning tokens; of a stream these counts, the
delta and the finish reason of each chunk. A character is a token, a tag too.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from server import INSTANT, Server, ServerPool

RECORDED = Path(__file__).parent / "contract" / "parsed.jsonl"
LINES = [json.loads(line) for line in RECORDED.read_text(encoding="utf-8").splitlines()]
CHARACTERS = ("--tokenizer", str(Path(__file__).parent / "fixtures" / "char_tokenizer"))
FLAGS = (
    *(*INSTANT, *CHARACTERS, "--max-model-len", "2000", "--mode", "echo"),
    *("--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--reasoning-parser", "deepseek_r1"),
)
KINDS = {"a": "integer", "s": "string", "o": "object", "b": "boolean", "x": "number"}
PROPERTIES: dict[str, Any] = {name: {"type": kind} for name, kind in KINDS.items()}
PROPERTIES["l"] = {"type": "array", "items": {"type": "integer"}}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}}
    for name, properties in (("f", PROPERTIES), ("g", {}))
]


@pytest.fixture(scope="module")
def server(servers: ServerPool) -> Server:
    return servers.get(*FLAGS)


@pytest.mark.parametrize("number", range(len(LINES)))
def test_the_text_is_read_as_vllm_reads_it(number: int, server: Server) -> None:
    line = LINES[number]
    # The prompt must not end behind a finished reasoning, or a stream would have none.
    messages = [{"role": "user", "content": line["text"]}, {"role": "assistant", "content": "<think>"}]
    request = {"messages": messages, "tools": TOOLS, **line["fields"]}
    if request.get("stream"):
        request["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
    reply = server.post("/v1/chat/completions", request)
    answer = streamed(reply.chunks()) if request.get("stream") else whole(reply.json())
    assert json.loads(re.sub("chatcmpl-tool-[0-9a-f]{16}", "ID", json.dumps(answer))) == line["answer"]


def whole(answer: Any) -> list[Any]:
    choice = answer["choices"][0]
    shown = {name: text for name, text in choice["message"].items() if name in ("content", "tool_calls", "reasoning")}
    return [shown, choice["finish_reason"], *counts(answer)]


def streamed(chunks: list[Any]) -> list[Any]:
    choices = [(counts(chunk), choice) for chunk in chunks for choice in chunk["choices"]]
    return [[*both, choice["delta"], choice["finish_reason"]] for both, choice in choices[1:]]


def counts(answer: Any) -> tuple[int, int]:
    usage = answer["usage"]
    return usage["completion_tokens"], usage["completion_tokens_details"]["reasoning_tokens"]
