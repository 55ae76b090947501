"""Reasoning before the answer: the field, its deltas and counts, and what makes it longer, shorter or none."""

from typing import Any

import pytest
from server import INSTANT, Server, ServerPool

FLAGS = (*INSTANT, "--reasoning-parser", "deepseek_r1", "--output-tokens-mean", "100", "--output-tokens-std-dev", "0")
QUESTION = [{"role": "user", "content": "Why?"}]


@pytest.fixture
def server(servers: ServerPool) -> Server:
    return servers.get(*FLAGS)


def ask(server: Server, **fields: Any) -> Any:
    reply = server.post("/v1/chat/completions", {"messages": QUESTION, "seed": 1, **fields})
    assert reply.status == 200, reply.body
    return reply.json()


def parts(answer: Any) -> tuple[Any, Any, int]:
    message = answer["choices"][0]["message"]
    return message["reasoning"], message["content"], answer["usage"]["completion_tokens_details"]["reasoning_tokens"]


def test_reasoning_and_answer(server: Server) -> None:
    answer = ask(server)
    reasoning, content, count = parts(answer)
    assert reasoning
    assert content
    assert "think>" not in reasoning + content
    assert 0 < count < answer["usage"]["completion_tokens"] == 100
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_a_stream_adds_up(server: Server) -> None:
    reasoning, content, count = parts(ask(server))
    fields = {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}
    reply = server.post("/v1/chat/completions", {"messages": QUESTION, "seed": 1, **fields})
    chunks = reply.chunks()
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(delta.get("reasoning", "") for delta in deltas) == reasoning
    assert "".join(delta.get("content", "") for delta in deltas) == content
    counts = [chunk["usage"]["completion_tokens_details"]["reasoning_tokens"] for chunk in chunks]
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] == count
    # The tags count as tokens, but have no chunk of their own.
    assert chunks[1]["usage"]["completion_tokens"] == 2


def test_without_the_reasoning(server: Server) -> None:
    reasoning, content, count = parts(ask(server, include_reasoning=False))
    assert reasoning is None
    assert (content, count) == parts(ask(server))[1:]
    reply = server.post(
        "/v1/chat/completions", {"messages": QUESTION, "seed": 1, "include_reasoning": False, "stream": True}
    )
    deltas = [choice["delta"] for chunk in reply.chunks() for choice in chunk["choices"]]
    assert "".join(delta.get("content", "") for delta in deltas) == content
    assert all(delta["reasoning"] is None for delta in deltas[1:-1])


def test_what_would_tell_the_hidden_reasoning_is_not_shown(server: Server) -> None:
    fields = {"include_reasoning": False, "logprobs": True, "return_token_ids": True}
    answer = ask(server, **fields)
    assert answer["prompt_token_ids"]
    assert answer["choices"][0]["logprobs"] is None
    assert answer["choices"][0]["token_ids"] is None
    reply = server.post("/v1/chat/completions", {"messages": QUESTION, "seed": 1, "stream": True, **fields})
    choices = [choice for chunk in reply.chunks()[1:] for choice in chunk["choices"]]
    assert {(choice["logprobs"], choice["token_ids"]) for choice in choices} == {(None, None)}
    assert all(choice["delta"] for choice in choices[:-1])


def test_effort_makes_the_reasoning_longer(server: Server) -> None:
    counts = [parts(ask(server, reasoning_effort=effort))[2] for effort in ("none", "minimal", "low", "high", "max")]
    assert counts[0] == 0
    assert counts == sorted(set(counts))
    assert parts(ask(server, reasoning_effort="none"))[1]


@pytest.mark.parametrize("switch", ["enable_thinking", "thinking"])
def test_the_template_switches_it_off(server: Server, switch: str) -> None:
    reasoning, content, count = parts(ask(server, chat_template_kwargs={switch: False}))
    assert (reasoning, count) == ("", 0)
    assert content


@pytest.mark.parametrize("budget", [0, 1, 7])
def test_a_budget_bounds_the_reasoning(server: Server, budget: int) -> None:
    reasoning, content, count = parts(ask(server, thinking_token_budget=budget))
    assert count == budget
    assert bool(reasoning) == bool(budget)
    assert content


def test_bad_words_are_in_neither_part(server: Server) -> None:
    usual = " ".join(parts(ask(server))[:2])
    word = max((word for word in usual.split() if word.isalpha()), key=len)
    reasoning, content, count = parts(ask(server, bad_words=[word]))
    assert word not in reasoning + content
    assert content
    assert count > 0


def test_echo_has_a_content_even_if_the_answer_has_none(server: Server) -> None:
    message = ask(server, echo=True, max_tokens=1)["choices"][0]["message"]
    assert (message["content"], message["reasoning"]) == ("", "")


def test_the_length_ends_it_inside_the_reasoning(server: Server) -> None:
    answer = ask(server, max_tokens=2, reasoning_effort="max")
    assert answer["choices"][0]["finish_reason"] == "length"
    assert parts(answer)[1:] == (None, 1)


def test_reasoning_of_earlier_turns(server: Server) -> None:
    turns = [*QUESTION, {"role": "assistant", "reasoning": "hm", "content": "ok"}, *QUESTION]
    for stream in (False, True):
        reply = server.post("/v1/chat/completions", {"messages": turns, "stream": stream})
        assert b"think>" not in reply.body
        assert b'"reasoning":"' in reply.body
