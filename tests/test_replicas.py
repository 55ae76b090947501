"""The share of the metrics follows the Deployment: the real kubernetes client against a fake API server."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_kubernetes import FakeKubernetes
from server import INSTANT, TINY, Server, ServerPool
from waiting_support import eventually


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeKubernetes]:
    fake = FakeKubernetes(tmp_path)
    yield fake
    fake.stop()


@pytest.fixture
def server(cluster: FakeKubernetes, servers: ServerPool) -> Server:
    return servers.get(*TINY, *INSTANT, environ=cluster.environment)


def reading(server: Server, name: str) -> float:
    for line in server.get("/metrics").body.decode().splitlines():
        if line.startswith(name):
            return float(line.rsplit(" ", 1)[1])
    raise AssertionError(f"no {name}")


def share(server: Server) -> float:
    return reading(server, 'vllm:request_success_total{model_name="tiny"}')


def source(server: Server, name: str) -> float:
    return reading(server, f'vllm_mock:deployment_replicas{{source="{name}"}}')


def test_the_share_follows_the_replicas(cluster: FakeKubernetes, server: Server) -> None:
    eventually(lambda: source(server, "watch") == 1.0)
    assert share(server) == 100.0
    for replicas, expected in ((5, 20.0), (0, 100.0), (None, 100.0), (4, 25.0)):
        cluster.scale(replicas)
        eventually(lambda expected=expected: share(server) == expected)
    paths = {path for path, _ in cluster.requests}
    assert paths == {"/apis/apps/v1/namespaces/default/deployments"}
    # One watch told of all of it; no scrape asked for anything.
    assert cluster.watches() == 1


def test_the_count_survives_what_happens_to_the_watch(cluster: FakeKubernetes, server: Server) -> None:
    cluster.scale(5)
    eventually(lambda: share(server) == 20.0)
    cluster.drop_connections()
    cluster.scale(10)
    eventually(lambda: share(server) == 10.0)
    cluster.expire()
    cluster.scale(2)
    eventually(lambda: share(server) == 50.0)
    cluster.delete()
    eventually(lambda: source(server, "stale") == 2.0)
    assert share(server) == 50.0
    cluster.create(4)
    eventually(lambda: share(server) == 25.0)
    assert source(server, "watch") == 4.0


def test_an_api_server_that_is_away_changes_nothing(cluster: FakeKubernetes, server: Server) -> None:
    cluster.scale(5)
    eventually(lambda: share(server) == 20.0)
    cluster.stop()
    eventually(lambda: source(server, "stale") == 5.0)
    assert share(server) == 20.0
    began = time.monotonic()
    server.get("/metrics")
    # Nowhere near a timeout of the API server's.
    assert time.monotonic() - began < 2.0
    cluster.start()
    cluster.scale(8)
    eventually(lambda: share(server) == 12.5)


def test_without_rights_the_default_stays_and_one_line_says_so(tmp_path: Path, servers: ServerPool) -> None:
    cluster = FakeKubernetes(tmp_path, name="forbidden")
    try:
        cluster.forbidden = True
        server = servers.get(*TINY, *INSTANT, environ={**cluster.environment, "DEFAULT_REPLICAS": "4"})
        eventually(lambda: len(cluster.requests) > 2)
        assert share(server) == 25.0
        assert source(server, "default") == 4.0
        lines = [line for line in server.log.read_text().splitlines() if "forbidden" in line]
        assert len(lines) == 1
        assert "HTTP 403" in lines[0]
        cluster.forbidden = False
        eventually(lambda: share(server) == 100.0)
    finally:
        cluster.stop()


def test_outside_a_cluster_kubernetes_is_not_imported(servers: ServerPool) -> None:
    server = servers.get(*TINY, *INSTANT, environ={"STANDALONE_MODE": "false", "DEFAULT_REPLICAS": "3"})
    assert share(server) == pytest.approx(100.0 / 3)
    assert source(server, "default") == 3.0
    modules = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "kubernetes" not in modules
