"""Prefill and decode on two servers, as AIBrix's router drives them: in the dialects of vLLM, TensorRT-LLM, SGLang."""

import json
import time

import pytest
from server import INSTANT, TINY

FLAGS = (*TINY, *INSTANT, "--block-size", "4", "--enable-prompt-tokens-details")
CONNECTOR = '{"kv_connector":"NixlConnector","kv_role":"kv_producer","engine_id":"prefill-1"}'
PREFILL_ENVIRON = {"POD_IP": "10.1.2.3", "VLLM_NIXL_SIDE_CHANNEL_PORT": "5601"}
# What AIBrix's router puts into the request to the prefill server.
SKELETON = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    **dict.fromkeys(("remote_engine_id", "remote_block_ids", "remote_host", "remote_port")),
}
PROMPT = "a prompt of thirty characters."
MESSAGES = [{"role": "user", "content": "How are you?"}]
BODIES = {
    "/v1/completions": {"model": "tiny", "prompt": PROMPT, "ignore_eos": True, "max_tokens": 6},
    "/v1/chat/completions": {"model": "tiny", "messages": MESSAGES, "ignore_eos": True, "max_tokens": 6},
}
PATHS = list(BODIES)


@pytest.fixture(scope="module")
def prefill(servers):
    return servers.get(*FLAGS, "--kv-transfer-config", CONNECTOR, environ=PREFILL_ENVIRON)


@pytest.fixture(scope="module")
def decode(servers):
    return servers.get(*FLAGS)


def asked(server, path, **fields):
    reply = server.post(path, {**BODIES[path], **fields})
    assert reply.status == 200, reply.body
    return reply.json()


def prefilled(server, path, **fields):
    """A prefill's answer, asked for as the router does."""
    return asked(server, path, max_tokens=1, stream=False, **fields)


def events(reply):
    lines = [line[6:] for line in reply.body.decode().splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("path", PATHS)
def test_vllms_dialect(prefill, decode, path):
    params = prefilled(prefill, path, kv_transfer_params=SKELETON)["kv_transfer_params"]
    prompt_tokens = asked(decode, path)["usage"]["prompt_tokens"]
    blocks = params.pop("remote_block_ids")
    request_id = params.pop("remote_request_id")
    cached = params.pop("remote_prefill_cached_tokens")
    assert params == {
        **{"do_remote_prefill": True, "do_remote_decode": False, "remote_engine_id": "prefill-1"},
        **{"remote_host": "10.1.2.3", "remote_port": 5601, "tp_size": 1, "dcp_size": 1, "pp_size": 1},
        **{"remote_num_tokens": prompt_tokens, "remote_blocks_expiry_time": None},
        **{"remote_registration_generation": 0, "transfer_mode": "pull"},
    }
    assert len(blocks) == 1
    assert len(set(blocks[0])) == len(blocks[0]) == -(-prompt_tokens // 4)
    assert request_id.startswith(("cmpl-", "chatcmpl-"))
    sent = {**params, "remote_block_ids": blocks, "remote_request_id": request_id}
    answer = asked(decode, path, kv_transfer_params={**sent, "remote_prefill_cached_tokens": cached + 3})
    assert answer["kv_transfer_params"] is None
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == cached + 3
    assert answer["usage"]["completion_tokens"] == 6


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", {"messages": MESSAGES, "max_tokens": 1}),
        ("/v1/responses", {"input": "How are you?", "max_output_tokens": 1}),
    ],
)
def test_the_other_routes_of_generation_take_part(prefill, decode, path, body):
    body = {"model": "tiny", **body}
    reply = prefill.post(path, {**body, "kv_transfer_params": SKELETON})
    assert reply.status == 200, reply.body
    params = reply.json()["kv_transfer_params"]
    assert (params["do_remote_prefill"], params["remote_port"]) == (True, 5601)
    answer = decode.post(path, {**body, "kv_transfer_params": params}).json()
    assert answer.get("kv_transfer_params") is None
    usage = answer["usage"]
    cached = usage.get("cache_read_input_tokens") or usage.get("input_tokens_details", {}).get("cached_tokens", 0)
    assert cached == params["remote_prefill_cached_tokens"]


def test_an_answer_that_nobody_goes_on_with_has_no_parameters(prefill):
    assert prefilled(prefill, "/v1/completions")["kv_transfer_params"] is None
    assert prefilled(prefill, "/v1/completions", kv_transfer_params={})["kv_transfer_params"] is None
    off = {**SKELETON, "do_remote_decode": False}
    assert prefilled(prefill, "/v1/completions", kv_transfer_params=off)["kv_transfer_params"] is None


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("usage", [None, {"include_usage": True}])
def test_a_stream_carries_them_in_the_last_chunk_of_a_choice(prefill, path, usage):
    body = {**BODIES[path], "stream": True, "stream_options": usage, "kv_transfer_params": SKELETON, "n": 2}
    chunks = [chunk for chunk in events(prefill.post(path, {**body, "temperature": 1})) if chunk["choices"]]
    told = [chunk for chunk in chunks if chunk.get("kv_transfer_params")]
    assert [chunk["choices"][0]["finish_reason"] for chunk in told] == ["length", "length"]
    assert {chunk["choices"][0]["index"] for chunk in told} == {0, 1}
    assert all(chunk["kv_transfer_params"]["do_remote_prefill"] for chunk in told)
    assert len([chunk for chunk in chunks if chunk["choices"][0]["finish_reason"]]) == 2


def test_requests_that_share_a_prefix_share_its_blocks(servers):
    server = servers.get(*FLAGS, "--num-gpu-blocks-override", "12")

    def blocks(prompt):
        return prefilled(server, "/v1/completions", prompt=prompt, kv_transfer_params=SKELETON)["kv_transfer_params"][
            "remote_block_ids"
        ][0]

    first, second = blocks([1] * 10), blocks([1] * 8 + [2] * 4)
    assert first[:2] == second[:2]
    assert first == [1, 2, 3]
    assert second == [1, 2, 3, *second[3:]]
    other = blocks(list(range(10, 54)))
    assert len(set(other)) == 11
    assert max(other) <= 12


def test_without_a_connector_a_prefill_is_answered_as_well(decode):
    params = prefilled(decode, "/v1/chat/completions", kv_transfer_params=SKELETON)["kv_transfer_params"]
    assert params["remote_port"] == 5600
    assert params["remote_host"]
    assert params["remote_engine_id"] != "prefill-1"
    again = prefilled(decode, "/v1/chat/completions", kv_transfer_params=SKELETON)["kv_transfer_params"]
    assert again["remote_engine_id"] == params["remote_engine_id"]
    assert again["remote_request_id"] != params["remote_request_id"]


def test_each_rank_is_an_engine_of_its_own(launch):
    server = launch(*FLAGS, "-dp", "2", "--kv-transfer-config", CONNECTOR, environ={"MY_POD_IP": "10.9.9.9"})
    deadline = time.monotonic() + 30
    seen = set()
    while len(seen) < 2:
        assert time.monotonic() < deadline
        params = prefilled(server, "/v1/completions", kv_transfer_params=SKELETON)["kv_transfer_params"]
        assert params["remote_host"] == "10.9.9.9"
        seen.add((params["remote_engine_id"], params["remote_port"]))
    assert seen == {("prefill-1_dp0", 5600), ("prefill-1_dp1", 5601)}


@pytest.mark.parametrize("path", PATHS)
def test_tensorrts_dialect(prefill, decode, path):
    room = 2**63 - 25
    asked_params = {"request_type": "context_only", "disagg_request_id": room}
    reply = prefill.post(path, {**BODIES[path], "max_tokens": 1, "disaggregated_params": asked_params})
    assert f'"disagg_request_id":{room}' in reply.body.decode()
    answer = reply.json()
    assert answer["disaggregated_params"] == asked_params
    told = answer["choices"][0]["disaggregated_params"]
    assert told.items() >= asked_params.items()
    assert len(told["first_gen_tokens"]) == 1
    assert isinstance(told["encoded_opaque_state"], str)
    ids = answer["prompt_token_ids"]
    assert len(ids) == answer["usage"]["prompt_tokens"]
    goes_on = {"prompt": ids} if path == "/v1/completions" else {"prompt_token_ids": ids}
    answer = asked(decode, path, **goes_on, disaggregated_params={**told, "request_type": "generation_only"})
    assert answer["usage"]["prompt_tokens"] == len(ids)
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == len(ids)
    assert "disaggregated_params" not in answer
    assert "disaggregated_params" not in answer["choices"][0]


@pytest.mark.parametrize("room", [2**63 - 2, [1, 2]])
@pytest.mark.parametrize("path", PATHS)
def test_sglangs_dialect(prefill, decode, path, room):
    bootstrap = {"bootstrap_host": "10.1.2.3", "bootstrap_port": 8998, "bootstrap_room": room}
    assert prefilled(prefill, path, **bootstrap)["usage"]["completion_tokens"] == 1
    assert asked(decode, path, **bootstrap)["usage"]["completion_tokens"] == 6


def test_aibrix_wraps_the_whole_prefill_for_its_nixl_pods(prefill, decode):
    answer = prefilled(prefill, "/v1/chat/completions")
    answer = asked(decode, "/v1/chat/completions", disagg_prefill_resp=answer)
    usage = answer["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"]


@pytest.mark.parametrize(
    "params", ["text", 5, {"request_type": 7}, {"request_type": "context_only", "disagg_request_id": None}]
)
def test_odd_parameters_are_no_fault_of_the_server(decode, params):
    assert decode.post("/v1/completions", {**BODIES["/v1/completions"], "disaggregated_params": params}).status == 200


def test_a_transferred_prompt_takes_the_time_of_its_transfer(servers):
    flags = ("--time-to-first-token", "2s", "--kv-cache-transfer-latency", "100ms")
    server = servers.get(*TINY, *INSTANT, *flags, "--kv-cache-transfer-time-per-token", "2ms")

    def seconds(**fields):
        start = time.monotonic()
        asked(server, "/v1/completions", **fields)
        return time.monotonic() - start

    transferred = {"do_remote_prefill": True, "do_remote_decode": False}
    assert 0.16 <= seconds(kv_transfer_params=transferred) < 1.9
    # The second time only what is not in the prefix cache is transferred: 14 tokens instead of 30.
    assert 0.128 <= seconds(kv_transfer_params=transferred) < 1.9
    counted = {
        name: server.gauge(f"vllm:{name}_total")
        for name in ("external_prefix_cache_queries", "external_prefix_cache_hits")
    }
    assert counted == {"external_prefix_cache_queries": 44, "external_prefix_cache_hits": 44}
    page = server.get("/metrics").body.decode()
    sources = {
        line.partition('source="')[2].partition('"')[0]: float(line.rpartition(" ")[2])
        for line in page.splitlines()
        if line.startswith("vllm:prompt_tokens_by_source_total")
    }
    assert sources == {"local_compute": 0, "local_cache_hit": 16, "external_kv_transfer": 44}


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("{", "--kv-transfer-config"),
        ('{"kv_connector":"NixlConnector"}', "kv_role"),
        ('{"kv_role":"kv_sideways"}', "kv_producer, kv_consumer, kv_both"),
        ('{"kv_connector":"Nixl","kv_role":"kv_both"}', "kv_connector must be one of"),
        ('{"kv_load_failure_policy":"ignore"}', "kv_load_failure_policy must be recompute or fail"),
    ],
)
def test_a_bad_configuration_stops_the_start(launch, config, told):
    with pytest.raises(RuntimeError) as failed:
        launch(*FLAGS, "--kv-transfer-config", config)
    assert told in str(failed.value)
