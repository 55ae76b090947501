"""Strict halves, as AIBrix's end-to-end tests start them: what they refuse, answer, record, and how they fail."""

import base64
import json
from types import SimpleNamespace
from typing import Any

import pytest
from server import INSTANT, TINY, Server, ServerPool

from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.pd_contract import PDContract

SENTINEL = "aibrix-pd-contract-opaque-sentinel"
SHFS, NIXL, SGLANG, TRTLLM = "vllm-aibrix-shfs", "vllm-aibrix-nixl", "sglang-http", "trtllm-openai"
ROOM = {"bootstrap_host": "10.0.0.1", "bootstrap_port": 8998, "bootstrap_room": 0}
HANDED = {
    **{"do_remote_decode": False, "do_remote_prefill": True, "remote_engine_id": "e", "remote_block_ids": [[1]]},
    **{"remote_host": "h", "remote_port": 1, "opaque": SENTINEL},
}
STATE = {
    **{"request_type": "generation_only", "disagg_request_id": 2**63 - 1, "first_gen_tokens": [5]},
    "encoded_opaque_state": "s",
}
GOOD: list[tuple[str, str, Any]] = [
    (SHFS, "prefill", {"kv_transfer_params": {"do_remote_decode": True}}),
    (SHFS, "decode", {"kv_transfer_params": HANDED}),
    (NIXL, "prefill", {}),
    (NIXL, "decode", {"disagg_prefill_resp": {"opaque": SENTINEL}}),
    (SGLANG, "prefill", ROOM),
    (SGLANG, "decode", ROOM),
    (TRTLLM, "prefill", {"disaggregated_params": {"request_type": "context_only"}, "prompt_token_ids": [1]}),
    (TRTLLM, "decode", {"disaggregated_params": STATE, "prompt_token_ids": [3, 4]}),
    (TRTLLM, "decode", {"disaggregated_params": {**STATE, "disagg_request_id": "-12"}, "prompt_token_ids": []}),
]
BAD: list[tuple[str, str, Any, str]] = [
    (SHFS, "prefill", {}, "missing kv_transfer_params"),
    (SHFS, "prefill", {"kv_transfer_params": {"do_remote_decode": 1}}, "do_remote_decode must be true"),
    (SHFS, "decode", {"kv_transfer_params": {**HANDED, "opaque": "x"}}, "invalid kv_transfer_params.opaque"),
    (SHFS, "decode", {"kv_transfer_params": {**HANDED, "remote_port": True}}, "invalid kv_transfer_params.remote_port"),
    (SHFS, "decode", {"kv_transfer_params": {"do_remote_decode": False}}, "missing kv_transfer_params.do_remote_pre"),
    (NIXL, "prefill", {"kv_transfer_params": {"do_remote_decode": True}}, "SHFS"),
    (NIXL, "decode", {"disagg_prefill_resp": {}}, "missing disagg_prefill_resp.opaque sentinel"),
    (SGLANG, "decode", {**ROOM, "bootstrap_room": -1}, "invalid bootstrap_room"),
    (SGLANG, "prefill", {**ROOM, "bootstrap_port": "8998"}, "invalid bootstrap_port"),
    (SGLANG, "prefill", {}, "invalid bootstrap_host"),
    (TRTLLM, "prefill", {"disaggregated_params": STATE}, "request_type must be context_only"),
    (TRTLLM, "decode", {"disaggregated_params": STATE}, "missing prompt_token_ids"),
    (
        TRTLLM,
        "decode",
        {"disaggregated_params": {**STATE, "first_gen_tokens": ["1"]}, "prompt_token_ids": [1]},
        "first",
    ),
]


def asked(fields: dict[str, Any]) -> Any:
    extra = {name: value for name, value in fields.items() if name != "kv_transfer_params"}
    return SimpleNamespace(model_extra=extra, kv_transfer_params=fields.get("kv_transfer_params"))


@pytest.mark.parametrize(("contract", "role", "fields"), GOOD)
def test_what_a_half_takes(contract: str, role: str, fields: Any) -> None:
    PDContract(contract, role).check(asked(fields))


@pytest.mark.parametrize(("contract", "role", "fields", "message"), BAD)
def test_what_a_half_refuses(contract: str, role: str, fields: Any, message: str) -> None:
    with pytest.raises(ApiError, match=message) as refusal:
        PDContract(contract, role).check(asked(fields))
    assert (refusal.value.status, refusal.value.type) == (400, "invalid_request")


@pytest.fixture
def half(servers: ServerPool) -> Any:
    def get(contract: str, role: str) -> Server:
        return servers.get(*TINY, *INSTANT, environ={"MOCK_PD_CONTRACT": contract, "MOCK_PD_ROLE": role})

    return get


CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1}
TEXT = {"model": "tiny", "prompt": "hello", "max_tokens": 1}
PATHS = [("/v1/chat/completions", CHAT), ("/v1/completions", TEXT)]


@pytest.mark.parametrize(("path", "body"), PATHS)
def test_what_a_prefill_is_told_passes_the_decode(half: Any, path: str, body: Any) -> None:
    answer = half(SHFS, "prefill").post(path, {**body, "kv_transfer_params": {"do_remote_decode": True}}).json()
    handed = answer["kv_transfer_params"]
    assert handed["opaque"] == SENTINEL
    decoded = half(SHFS, "decode").post(path, {**body, "kv_transfer_params": handed})
    assert decoded.status == 200, decoded.body
    refused = half(SHFS, "decode").post(path, body)
    assert (refused.status, refused.json()["error"]["type"]) == (400, "invalid_request")


@pytest.mark.parametrize(("path", "body"), PATHS)
def test_the_sealed_answers_of_prefills(half: Any, path: str, body: Any) -> None:
    assert half(NIXL, "prefill").post(path, body).json()["opaque"] == SENTINEL
    params = {"request_type": "context_only", "disagg_request_id": 2**63 - 1}
    answer = half(TRTLLM, "prefill").post(path, {**body, "disaggregated_params": params}).json()
    assert "disaggregated_params" not in answer
    told = answer["choices"][0]["disaggregated_params"] | {"request_type": "generation_only"}
    goes_on = {"disaggregated_params": told, "prompt_token_ids": answer["prompt_token_ids"]}
    PDContract(TRTLLM, "decode").check(asked(goes_on))


def records(server: Server, request_id: str) -> Any:
    return server.get(f"/debug/requests?request_id={request_id}").json()


def test_what_a_half_was_asked_is_recorded(half: Any) -> None:
    server = half(SHFS, "prefill")
    raw = b'{ "prompt": "hello", "max_tokens": 1, "kv_transfer_params": {"do_remote_decode": true} }'
    sent = {"X-Request-Id": "one", "Authorization": "Bearer secret", "Content-Type": "application/json"}
    answer = server.post("/v1/completions", raw, sent).json()
    (record,) = records(server, "one")
    assert base64.b64decode(record["raw_body_base64"]) == raw
    assert record["parsed_json"] == json.loads(raw)
    assert record["headers"]["authorization"] == "<redacted>"
    assert record["response"] == answer
    about = {"path": "/v1/completions", "engine": "vllm", "role": "prefill", "pod": "pod-under-test", "delay_ms": 0}
    assert record.items() >= {**about, "outcome": "success", "status_code": 200, "error": None}.items()
    assert record["timestamp_started"] <= record["timestamp_finished"]
    server.post("/v1/completions", b"{", {**sent, "X-Request-Id": "two"})
    (record,) = records(server, "two")
    assert (record["outcome"], record["status_code"], record["parsed_json"]) == ("rejected", 400, None)
    assert record["error"]["message"]


def test_a_stream_is_recorded_without_its_body(half: Any) -> None:
    server = half(SHFS, "prefill")
    body = {**CHAT, "stream": True, "kv_transfer_params": {"do_remote_decode": True}}
    assert server.post("/v1/chat/completions", body, {"X-Request-Id": "stream"}).chunks()
    (record,) = records(server, "stream")
    assert (record["outcome"], record["response"]) == ("success", None)


@pytest.mark.parametrize(
    ("sent", "status", "outcome"),
    [
        ({"x-aibrix-mock-fail": "prefill"}, 500, "failed"),
        ({"x-aibrix-mock-fail": "decode"}, 200, "success"),
        ({"x-aibrix-mock-delay-ms": "20"}, 200, "success"),
        ({"x-aibrix-mock-delay-ms": "020"}, 400, "rejected"),
        ({"x-aibrix-mock-delay-ms": "30001"}, 400, "rejected"),
        ({"x-aibrix-mock-delay-role": "cook"}, 400, "rejected"),
    ],
)
def test_headers_make_a_half_fail_or_wait(half: Any, sent: dict[str, str], status: int, outcome: str) -> None:
    server, name = half(SHFS, "prefill"), "-".join(next(iter(sent.items())))
    body = {**TEXT, "kv_transfer_params": {"do_remote_decode": True}}
    reply = server.post("/v1/completions", body, {**sent, "X-Request-Id": name})
    (record,) = records(server, name)
    assert (reply.status, record["status_code"], record["outcome"]) == (status, status, outcome)
    assert record["delay_ms"] == (20 if sent.get("x-aibrix-mock-delay-ms") == "20" else 0)


def test_a_contract_without_a_role_stops_the_start(launch: Any) -> None:
    with pytest.raises(RuntimeError, match="--pd-contract needs --pd-role"):
        launch(*TINY, *INSTANT, environ={"MOCK_PD_CONTRACT": SHFS})
