"""Elastic expert parallelism: another number of engines, and what is refused on the way there."""

from collections.abc import Iterator

import pytest
import requests
from control_support import Stream, controlled, get, post
from server import INSTANT, TINY, Server, ServerPool
from waiting_support import eventually


@pytest.fixture
def server(servers: ServerPool) -> Iterator[Server]:
    with controlled(servers) as running:
        yield running


def test_elastic_scaling_waits_for_requests(server: Server) -> None:
    stream = Stream(server, 40)
    eventually(lambda: len(stream.events) > 1)
    timed_out = post(server, "/scale_elastic_ep", new_data_parallel_size=2, drain_timeout=1)
    message = "Scale failed due to request drain timeout after 1 seconds"
    error = {"message": message, "type": "Request Timeout", "param": None, "code": 408}
    assert (timed_out.status_code, timed_out.json()) == (408, {"error": error})
    assert stream.chunks()[-1]["choices"][0]["finish_reason"] == "length"
    assert post(server, "/scale_elastic_ep", new_data_parallel_size=2).status_code == 200


def test_elastic_ep(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, environ={"POD_NAME": "elastic"})
    scaled = post(server, "/scale_elastic_ep", new_data_parallel_size=4)
    assert scaled.json() == {"message": "Scaled to 4 data parallel engines"}
    started = post(server, "/debug/elastic_ep", scaling=True)
    assert started.json() == {"status": "success", "is_scaling_elastic_ep": True}
    refused = post(server, "/v1/completions", model="tiny", prompt="a")
    assert refused.status_code == 503
    assert refused.json() == {"error": "The model is currently scaling. Please try again later."}
    assert get(server, "/health").status_code == 200
    status = post(server, "/is_scaling_elastic_ep").json()
    assert status == {
        "is_scaling_elastic_ep": True,
        "phase": "committing",
        "epoch": None,
        "error": None,
        "requested_data_parallel_size": None,
    }
    for bad in ({}, {"scaling": "yes"}, {"scaling": True, "duration_seconds": 0}):
        assert post(server, "/debug/elastic_ep", **bad).status_code == 400
    for raw in ('{"scaling": true, "duration_seconds": Infinity}', '{"scaling": true, "duration_seconds": 1e309}'):
        assert requests.post(server.base_url + "/debug/elastic_ep", data=raw).status_code == 400
    assert post(server, "/debug/elastic_ep", scaling=True, duration_seconds=0.3).status_code == 200
    eventually(lambda: post(server, "/v1/completions", model="tiny", prompt="a", max_tokens=1).status_code == 200)
