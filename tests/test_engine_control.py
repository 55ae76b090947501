"""The other routes of those who run an engine: new weights, an empty prefix cache, profiles, and refusals."""

import re
from collections.abc import Iterator

import pytest
import requests
from control_support import Stream, controlled, get, post
from server import INSTANT, TINY, Server, ServerPool
from waiting_support import eventually

MISSING = "{'type': 'missing', 'loc': 'body.%s', 'msg': 'Field required', 'input': 'None'}"


@pytest.fixture
def server(servers: ServerPool) -> Iterator[Server]:
    with controlled(servers) as running:
        yield running


def test_new_weights(server: Server) -> None:
    post(server, "/pause")
    for path, body, message in (
        ("/init_weight_transfer_engine", {"init_info": {"rank": 0}}, "Weight transfer initialized"),
        ("/start_weight_update", {}, "Weight update started"),
        ("/update_weights", {"update_info": {"names": ["a"]}}, "Weights updated"),
        ("/finish_weight_update", {"weight_version": "v2"}, "Weight update finished"),
        ("/shutdown_weight_transfer_engine", {}, "Weight transfer shut down"),
    ):
        assert post(server, path, **body).json() == {"message": message}
    assert get(server, "/weight_info").json() == {"weight_version": "v2"}
    before = post(server, "/weight_checker", action="checksum").json()["checksums"]
    assert post(server, "/weight_checker", action="compare", baseline=before).json() == {
        "match": True,
        "mismatches": [],
    }
    assert post(server, "/update_weight_version", new_version="v3").json() == {"success": True, "new_version": "v3"}
    compared = post(server, "/weight_checker", action="compare", baseline={**before, "b": "x"}).json()
    assert compared == {"match": False, "mismatches": ["b", *before]}
    assert post(server, "/weight_checker", action="reset").json() == {"status": "reset"}
    assert server.gauge("vllm:rl_weight_update_operation_duration_seconds_count", operation="update") == 1


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/init_weight_transfer_engine", "{}", [MISSING % "init_info"]),
        ("/update_weight_version", '{"new_version": null}', [MISSING % "new_version"]),
        ("/weight_checker", "[]", [MISSING % "action", MISSING % "baseline"]),
        (
            "/update_weights",
            '{"update_info": 1}',
            [
                "{'type': 'dict_type', 'loc': 'body.update_info', 'msg': 'Input should be a valid dictionary', "
                "'input': '1'}",
                "{'type': 'list_type', 'loc': 'body.update_info', 'msg': 'Input should be a valid list', 'input': '1'}",
            ],
        ),
        ("/weight_checker", '{"action": "compare"}', "action='compare' requires a 'baseline' object"),
        ("/collective_rpc", '{"method": null}', "Missing 'method' in request body"),
        ("/collective_rpc", '{"method": "x", "args": null}', "'NoneType' object is not iterable"),
        (
            "/collective_rpc",
            "{",
            "JSON decode error: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
        ("/abort_requests", "[]", "Request body must be a JSON object"),
        ("/scale_elastic_ep", '{"new_data_parallel_size": 0}', "new_data_parallel_size must be a positive integer"),
    ],
)
def test_refusals(server: Server, path: str, body: str, told: list[str] | str) -> None:
    refused = requests.post(server.base_url + path, data=body, headers={"Content-Type": "application/json"})
    if isinstance(told, list):
        count = f"{len(told)} validation error{'s' if len(told) > 1 else ''}:"
        told = "\n  ".join([count, *told])
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, told)


def test_the_prefix_cache_is_emptied_unless_requests_run(server: Server) -> None:
    stream = Stream(server, 20, prompt="y" * 40)
    eventually(lambda: len(stream.events) > 1)
    assert post(server, "/reset_prefix_cache").json() == {"success": False}
    before = server.gauge("vllm:num_preemptions_total")
    assert post(server, "/reset_prefix_cache?reset_running_requests=true").json() == {"success": True}
    assert len(stream.chunks()) == 20
    assert server.gauge("vllm:num_preemptions_total") == before + 1
    eventually(lambda: server.gauge("vllm:kv_cache_usage_perc") == 0)
    assert post(server, "/reset_prefix_cache").json() == {"success": True}


def test_profiles_and_tokenizer_info_are_there_when_asked_for(servers: ServerPool) -> None:
    flags = ("--profiler-config", '{"profiler": "torch"}', "--enable-tokenizer-info-endpoint")
    server = servers.get(*TINY, *INSTANT, *flags)
    for path in ("/start_profile", "/stop_profile"):
        answer = post(server, path)
        assert (answer.status_code, answer.text) == (200, "")
    info = get(server, "/tokenizer_info").json()
    assert re.search("messages", info["chat_template"])
    assert info["eos_token"] == "</s>"
    described = get(server, "/server_info?config_format=json").json()
    assert described["vllm_config"]["max_model_len"] == 256
    assert set(described) == {"vllm_config", "vllm_env", "system_env"}
