"""KV events of the real server, read by a ZeroMQ consumer: the mirror of the cache agrees with cached_tokens."""

import contextlib
import http.client
import os
import random
import signal
import socket
import time
from pathlib import Path

import msgspec
import pytest
import zmq
from kv_consumer import END_OF_REPLAY, Consumer, events_flags
from server import APP, GTHREAD, INSTANT, TINY, free_port

from vllm_mock.engine import EngineRequest
from vllm_mock.engine.vllm_block_hash import VLLMBlockHasher

FLAGS = (*TINY, *INSTANT, "--block-size", "4", "--enable-prompt-tokens-details")
SEEDED = {"PYTHONHASHSEED": "0"}


def free_ports(count):
    """Neighbouring ports, one for each rank."""
    while True:
        first = free_port()
        if all(_is_free(first + number) for number in range(1, count)):
            return first


def _is_free(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def complete(server, prompt, max_tokens=1, **fields):
    body = {"model": "tiny", "prompt": prompt, "max_tokens": max_tokens, "ignore_eos": True, **fields}
    reply = server.post("/v1/completions", body)
    assert reply.status == 200, reply.body
    return reply.json()


def cached(answer):
    return answer["usage"]["prompt_tokens_details"]["cached_tokens"]


def subscribed(server, *consumers):
    """Returns when the subscriptions have arrived: the publisher does not keep messages for later subscribers."""
    while not all(consumer.socket.poll(30) for consumer in consumers):
        complete(server, [random.randrange(200, 256) for _ in range(4)])


@pytest.fixture(scope="module")
def ports():
    return free_ports(1), free_ports(1)


@pytest.fixture(scope="module")
def server(servers, ports):
    flags = (*FLAGS, "--num-gpu-blocks-override", "24", *events_flags(*ports, topic="kv@pod@tiny"))
    return servers.get(*flags, "--prefix-caching-hash-algo", "sha256_cbor", environ=SEEDED)


@pytest.fixture
def consumer(server, ports):
    with Consumer(*ports) as consumer:
        subscribed(server, consumer)
        consumer.catch_up()
        yield consumer


def test_events_of_a_prompt_and_its_output_have_vllms_fields_and_hashes(server, consumer):
    before = len(consumer.events)
    prompt = [90, 91, 92, 93, 94]
    answer = complete(server, prompt, max_tokens=9, return_token_ids=True, cache_salt="pepper")
    tokens = [*prompt, *answer["choices"][0]["token_ids"]][:12]
    request = EngineRequest("r", prompt, [1], 1, cache_salt="pepper")
    hashes = [
        int.from_bytes(block[-8:], "big") for block in VLLMBlockHasher("sha256_cbor", 4, "0")(request, tokens, None)
    ]
    consumer.catch_up()
    stored = [event for event in consumer.events[before:] if event["type"] == "BlockStored"]
    assert list(stored[0]) == [
        *("type", "block_hashes", "parent_block_hash", "token_ids", "block_size", "lora_id", "medium", "lora_name"),
        *("extra_keys", "group_idx", "kv_cache_spec_kind"),
    ]
    assert [block for event in stored for block in event["block_hashes"]] == hashes
    assert [keys for event in stored for keys in event["extra_keys"]] == [["pepper"], None, None]
    assert {event["medium"] for event in stored} == {"GPU"}
    assert stored[0]["parent_block_hash"] is None
    assert stored[-1]["parent_block_hash"] in hashes
    assert [token for event in stored for token in event["token_ids"]] == tokens


def test_events_of_an_adapter_name_it_and_its_blocks_are_its_own(server, consumer):
    prompt = [95, 96, 97, 98, 99]
    assert server.post("/v1/load_lora_adapter", {"lora_name": "adA", "lora_path": "/adapters/a"}).status == 200
    before = len(consumer.events)
    assert cached(complete(server, prompt)) == 0
    assert cached(complete(server, prompt, model="adA")) == 0
    assert cached(complete(server, prompt, model="adA")) == 4
    consumer.catch_up()
    stored = [event for event in consumer.events[before:] if event["type"] == "BlockStored"]
    assert [event["lora_name"] for event in stored] == [None, "adA"]
    assert [event["extra_keys"] for event in stored] == [[None], [["adA"]]]
    assert isinstance(stored[1]["lora_id"], int)
    request = EngineRequest("r", prompt, [1], 1, lora_name="adA", lora_path="/adapters/a")
    block = VLLMBlockHasher("sha256_cbor", 4, "0")(request, prompt, None)[0]
    assert stored[1]["block_hashes"] == [int.from_bytes(block[-8:], "big")]


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({"session_id": "s1"}, {"X-Session-ID": "s2"}),
        ({"vllm_xargs": {"session_id": "s2"}}, {"X-Session-ID": "s1"}),
        ({"vllm_xargs": {"session_id": "s1"}}, {}),
    ],
)
def test_events_name_the_session(server, consumer, fields, headers):
    prompt = [random.randrange(200, 256) for _ in range(8)]
    body = {"model": "tiny", "prompt": prompt, "max_tokens": 1, **fields}
    assert server.request("POST", "/v1/completions", body, headers).status == 200
    consumer.catch_up()
    assert [event["session_id"] for event in consumer.events if event.get("token_ids") == prompt] == ["s1"]


def test_a_mirror_agrees_with_cached_tokens_through_evictions(server, consumer):
    choose = random.Random(5)
    seen = {True: 0, False: 0}
    for _ in range(40):
        prompt = [choose.choice((60, 61)) for _ in range(choose.randint(1, 24))]
        expected = consumer.cached_tokens(prompt)
        answer = complete(server, prompt, choose.randint(1, 12))
        assert cached(answer) == expected
        seen[expected > 0] += 1
        consumer.catch_up()
    assert min(seen.values()) > 5
    assert any(event["type"] == "BlockRemoved" for event in consumer.events)
    assert len(consumer.blocks) <= 24


def test_a_reset_clears_the_mirror(server, consumer):
    complete(server, [80, 81, 82, 83, 84])
    assert server.post("/reset_prefix_cache", {}).json() == {"success": True}
    consumer.catch_up()
    assert consumer.events[-1] == {"type": "AllBlocksCleared"}
    assert consumer.blocks == {}
    assert cached(complete(server, [80, 81, 82, 83, 84])) == 0
    assert cached(complete(server, [80, 81, 82, 83, 84])) == 4
    consumer.catch_up()
    assert [tokens for _, tokens in consumer.blocks.values()] == [[80, 81, 82, 83]]


def test_the_subscription_has_no_gap_and_a_replay_fills_one(server, consumer, ports):
    complete(server, [70, 71, 72, 73])
    complete(server, [70, 71, 72, 73, 74, 75, 76, 77])
    consumer.receive(0.2)
    assert consumer.sequences == list(range(consumer.sequences[-1] + 1))
    with Consumer(*ports) as late:
        *missed, end = late.replay(0)
        assert end == [b"", END_OF_REPLAY, b""]
        assert {topic for topic, _, _ in missed} == {b"kv@pod@tiny"}
        for _topic, sequence, payload in missed:
            late.apply(sequence, payload)
        assert late.blocks == consumer.blocks
        newest = late.sequences[-1]
        assert [int.from_bytes(answer[1], "big") for answer in late.replay(newest)[:-1]] == [newest]
        assert late.replay(newest + 1) == [end]
        assert late.replay(0, zmq.REQ, envelope=()) == missed[:1]
        # AIBrix's consumer sends no empty frame.
        assert late.replay(newest, envelope=())[-1] == end


def test_the_topic_selects_what_a_subscriber_gets(server, ports):
    with Consumer(ports[0], topic="kv@pod") as matching, Consumer(ports[0], topic="other") as other:
        subscribed(server, matching)
        assert not other.socket.poll(100)


def test_the_sources_are_told(server, ports):
    assert server.get("/kv_event_sources").json() == {
        "0": {
            "enable_kv_cache_events": True,
            "publisher": "zmq",
            "endpoint": f"tcp://*:{ports[0]}",
            "replay_endpoint": f"tcp://*:{ports[1]}",
            "buffer_steps": 10000,
            "hwm": 100000,
            "max_queue_size": 100000,
            "topic": "kv@pod@tiny",
        }
    }


@pytest.mark.parametrize("runner", [APP, GTHREAD])
def test_each_rank_has_ports_of_its_own_and_a_new_worker_takes_over_those_of_a_dead_one(launch, runner):
    port, replay = free_ports(2), free_ports(2)
    environ = {"GUNICORN_CMD_ARGS": "-w 2"} if runner == GTHREAD else {}
    flags = () if environ else ("--data-parallel-size", "2")
    server = launch(*FLAGS, *flags, *events_flags(port, replay), runner=runner, environ=environ)
    sources = wait_for_sources(server)
    assert [source["endpoint"] for source in sources.values()] == [f"tcp://*:{port}", f"tcp://*:{port + 1}"]
    assert sources["1"]["replay_endpoint"] == f"tcp://*:{replay + 1}"
    with Consumer(port, replay) as first, Consumer(port + 1, replay + 1) as second:
        consumers = (first, second)
        spread(server, consumers, lambda consumer: consumer.sequences[1:])
        assert [consumer.rank for consumer in consumers] == [0, 1]
        os.kill(server.workers()[0], signal.SIGKILL)
        restarted = spread(server, consumers, lambda consumer: sorted(consumer.sequences) != consumer.sequences, any)
        assert restarted.sequences[-1] < restarted.sequences[-2]


def wait_for_sources(server):
    deadline = time.monotonic() + 30
    while len(sources := server.get("/kv_event_sources").json()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return sources


def spread(server, consumers, wanted, enough=all):
    """Sends requests until `wanted(consumer)` is true of all (or any) consumers; returns one of which it is."""
    deadline = time.monotonic() + 45
    while not enough(wanted(consumer) for consumer in consumers):
        assert time.monotonic() < deadline
        with contextlib.suppress(OSError, http.client.HTTPException):
            complete(server, [random.randrange(256) for _ in range(8)])
        for consumer in consumers:
            while consumer.socket.poll(20):
                _topic, sequence, payload = consumer.socket.recv_multipart()
                consumer.sequences.append(int.from_bytes(sequence, "big"))
                consumer.rank = msgspec.msgpack.decode(payload)[2]
    return next(consumer for consumer in consumers if wanted(consumer))


def test_arrays_for_consumers_of_older_releases(servers):
    port, replay = free_ports(1), free_ports(1)
    flags = (*FLAGS, *events_flags(port, replay), "--kv-events-format", "array")
    server = servers.get(*flags, environ={"VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES": "0"})
    with Consumer(port, replay) as consumer:
        complete(server, [1, 2, 3, 4, 5])
        payload = consumer.replay(0)[0][2]
        timestamp, ((tag, hashes, parent, tokens, size, *rest),), rank = msgspec.msgpack.decode(payload)
        assert abs(timestamp - time.time()) < 30
        assert (tag, parent, tokens, size, rank) == ("BlockStored", None, [1, 2, 3, 4], 4, 0)
        assert [len(block) for block in hashes] == [32]
        assert rest == [None, "GPU", None, [None], 0, "full_attention", None, None]


def test_an_address_is_connected_to_any_port_is_told_and_the_last_events_are_sent(launch):
    with Consumer(0) as consumer:
        port = consumer.socket.bind_to_random_port("tcp://127.0.0.1")
        config = events_flags(1, endpoint=f"tcp://127.0.0.1:{port}", replay_endpoint="tcp://*:0")
        server = launch(*FLAGS, *config, environ={"VLLM_HOST_IP": "127.0.0.1"})
        source = server.get("/kv_event_sources").json()["0"]
        assert source["endpoint"] == f"tcp://127.0.0.1:{port}"
        address, _, consumer.replay_port = source["replay_endpoint"].rpartition(":")
        assert address == "tcp://127.0.0.1"
        subscribed(server, consumer)
        consumer.catch_up()
        complete(server, [1, 2, 3, 4, 5, 6, 7, 8])
        server.signal(signal.SIGTERM)
        consumer.receive(0.5)
        assert [1, 2, 3, 4] in [tokens for _, tokens in consumer.blocks.values()]
        assert server.exit_code() == 0


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--kv-events-config", "{"), "--kv-events-config"),
        (("--kv-events-config", '{"enable":true}'), "unknown key 'enable'"),
        (("--kv-events-config", '{"enable_kv_cache_events":true,"endpoint":"5557"}'), "tcp://, ipc:// or inproc://"),
        ((*events_flags(1), "--no-enable-prefix-caching"), "prefix caching"),
        (events_flags(1, endpoint="tcp://*:99999"), "endpoint must end with a port"),
        (events_flags(1, endpoint="ipc:///no/such/folder/events"), "cannot listen on ipc:///no/such/folder/events"),
        ((*events_flags(1, endpoint="ipc://@kv"), "--data-parallel-size", "2"), "no place for a second rank"),
    ],
)
def test_a_bad_configuration_stops_the_start_with_one_line(launch, flags, told):
    line = refusal(launch, flags)
    assert told in line


def test_a_taken_port_stops_the_start_with_one_line(launch, server, ports):
    assert f"cannot listen on tcp://*:{ports[0]}: Address already in use" in refusal(launch, events_flags(ports[0]))


def test_taken_ports_of_all_ranks_stop_the_start(launch):
    with Consumer(0) as first:
        port = free_ports(2)
        first.socket.bind(f"tcp://*:{port}")
        first.context.socket(zmq.SUB).bind(f"tcp://*:{port + 1}")
        with pytest.raises(RuntimeError) as failed:
            launch(*FLAGS, *events_flags(port), "--data-parallel-size", "2")
    told = [line for line in str(failed.value).splitlines() if line.startswith("error:")]
    assert f"error: --kv-events-config: cannot listen on tcp://*:{port}: Address already in use" in told
    assert "the server ended with 2" in str(failed.value)
    assert "Traceback" not in str(failed.value)


def refusal(launch, flags):
    with pytest.raises(RuntimeError) as failed:
        launch(*FLAGS, *flags)
    lines = [line for line in str(failed.value).splitlines() if line.startswith("error:")]
    assert "Traceback" not in str(failed.value)
    assert len(lines) == 1
    return lines[0]


def test_without_the_flag_nothing_is_opened_or_imported(tiny):
    assert tiny.get("/kv_event_sources").json() == {}
    maps = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in (tiny.process.pid, *tiny.workers()))
    assert "pydantic_core" in maps
    assert "zmq" not in maps
    assert "msgspec" not in maps
