"""Families that are there only with their flags, or after their first event."""

import re
import time

import requests
from server import INSTANT, TINY, Server, ServerPool

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


def page(server: Server) -> str:
    return requests.get(server.base_url + "/metrics", timeout=10).text


def value(server: Server, series: str) -> float:
    return float(re.search(f"^{re.escape(series)} (.*)$", page(server), re.MULTILINE)[1])  # type: ignore[index]


def parsed(mode: str, outcome: str, kind: str) -> str:
    labels = f'mode="{mode}",model_name="m",outcome="{outcome}",request_type="{kind}"'
    return f"vllm:tool_call_parser_invocations_total{{{labels}}}"


def test_tool_call_parser_invocations(servers: ServerPool) -> None:
    flags = ("--enable-auto-tool-choice", "--tool-call-parser", "hermes")
    server = servers.get(*INSTANT, *flags, environ={"MODEL_NAME": "m", "POD_NAME": "conditional"})
    ask = {"model": "m", "messages": [{"role": "user", "content": "f"}], "tools": TOOLS}
    assert value(server, parsed("streaming", "tool_call", "other")) == 0
    for choice in ("auto", "none"):
        requests.post(server.base_url + "/v1/chat/completions", json={**ask, "tool_choice": choice}, timeout=10)
    assert value(server, parsed("non_streaming", "tool_call", "chat_completions")) == 1
    assert value(server, parsed("non_streaming", "no_tool_call", "chat_completions")) == 0
    streamed = requests.post(server.base_url + "/v1/chat/completions", json={**ask, "stream": True}, timeout=10)
    chunks = streamed.text.count('"tool_calls":[{')
    assert value(server, parsed("streaming", "tool_call", "chat_completions")) == chunks > 0
    responses = {"model": "m", "input": "f", "tools": [{"type": "function", "name": "f", "parameters": {}}]}
    requests.post(server.base_url + "/v1/responses", json=responses, timeout=10)
    assert value(server, parsed("non_streaming", "tool_call", "responses")) == 1
    assert "tool_call_parser" not in page(servers.get(*TINY, *INSTANT))


def test_kv_fetches(servers: ServerPool) -> None:
    config = '{"kv_connector": "NixlConnector", "kv_role": "kv_consumer"}'
    server = servers.get(*TINY, *INSTANT, "--kv-transfer-config", config)
    labels = 'engine="0",model_name="tiny",stage="in_progress"'
    assert value(server, f"vllm:num_requests_kv_fetch_by_stage{{{labels}}}") == 0
    assert "kv_fetch" not in page(servers.get(*TINY, *INSTANT))


def test_sleep_operations_show_after_the_first_one(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, environ={"POD_NAME": "conditional"})
    name = "vllm:sleep_mode_operation_duration_seconds_count"
    assert "sleep_mode" not in page(server)
    for path in ("/sleep", "/wake_up", "/release_kv_cache_memory", "/release_kv_cache_memory"):
        requests.post(server.base_url + path, timeout=10)
    found = [value(server, f'{name}{{operation="{kind}"}}') for kind in ("sleep", "wake", "release_kv_cache_memory")]
    assert found == [1, 1, 2]
    assert value(server, 'vllm:sleep_mode_operations_in_flight{operation="sleep"}') == 0


def test_residency_of_kv_blocks(servers: ServerPool) -> None:
    blocks = ("--num-gpu-blocks-override", "4", "--kv-cache-metrics", "--kv-cache-metrics-sample", "1")
    server = servers.get(*TINY, *INSTANT, *blocks)

    def complete(prompt: str) -> None:
        # 40 tokens: two full blocks and a third.
        body = {"model": "tiny", "prompt": prompt * 40, "max_tokens": 1}
        assert requests.post(server.base_url + "/v1/completions", json=body, timeout=10).ok

    def count(family: str) -> float:
        return value(server, f'vllm:kv_block_{family}_seconds_count{{engine="0",model_name="tiny"}}')

    def total(family: str) -> float:
        return value(server, f'vllm:kv_block_{family}_seconds_sum{{engine="0",model_name="tiny"}}')

    for _ in range(3):
        complete("a")
        time.sleep(0.05)
    assert count("lifetime") == 0
    complete("b")
    # Three blocks were needed and two empty, so that one had to go; its two hits were 0.05 s apart at least.
    assert [count(family) for family in ("lifetime", "idle_before_evict", "reuse_gap")] == [1, 1, 1]
    assert total("reuse_gap") > 0.05
    assert total("lifetime") > total("idle_before_evict") + total("reuse_gap") > 0.1
    assert "kv_block" not in page(servers.get(*TINY, *INSTANT))
