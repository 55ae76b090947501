"""Anthropic's requests as chat requests: each as vLLM 0.33.0 showed it to a chat template."""

import json
from pathlib import Path
from typing import Any

import pytest

from vllm_mock.protocol.anthropic.chat_request import chat_request
from vllm_mock.protocol.anthropic.request import AnthropicMessagesRequest
from vllm_mock.protocol.chat_template import template_arguments
from vllm_mock.protocol.conversation import conversation, refuse_media
from vllm_mock.protocol.limits import Limits

_LINES = (Path(__file__).parent / "contract" / "anthropic_conversions.jsonl").read_text().splitlines()
RECORDED = [json.loads(line) for line in _LINES]
LIMITS = Limits(model="tiny", max_model_len=2000, vocab_size=320, max_chars_per_token=13)


@pytest.mark.parametrize("record", RECORDED, ids=[record["case"] for record in RECORDED])
def test_conversion(record: dict[str, Any]) -> None:
    chat = chat_request(AnthropicMessagesRequest.model_validate(record["request"]), LIMITS)
    # The recording's template asked for contents as lists of parts.
    assert conversation(chat.messages, refuse_media("tiny"), keep_parts=True) == record["messages"]
    assert template_arguments(chat, LIMITS)["tools"] == record.get("tools")
    assert chat.reasoning_effort == record["reasoning_effort"]
    choice = chat.tool_choice
    assert (choice if choice is None or isinstance(choice, str) else choice.model_dump()) == record["tool_choice"]
    sampling = record["sampling"]
    assert (chat.stop or []) == sampling["stop"]
    for name in ("temperature", "top_p"):
        assert getattr(chat, name) in (None, sampling[name])
    for name in ("top_k", "thinking_token_budget"):
        assert getattr(chat, name) == sampling.get(name)
    assert chat.max_completion_tokens == record["request"]["max_tokens"]
