"""Families that are there only with their flags, or after their first event."""

import re

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
