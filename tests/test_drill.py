"""A drill: what config/mock deploys, as three processes behind nginx, with the API server and Prometheus beside them.

The pods have the arguments and the environment of the manifest, the API server enforces its Role, Prometheus scrapes
what the ServiceMonitor says. Traffic, scaling, a scrape, an adapter and the end of one pod follow; nothing is lost.
"""

import json
import math
import re
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from fake_kubernetes import FakeKubernetes
from manifests import Pod, name, of_kind, pods, rendered
from nginx_support import Nginx
from prometheus_support import Prometheus
from raw_http import Reply
from server import ROOT, Server, start
from waiting_support import eventually

MODEL = "llama2-7b"
NAMES = [f"{MODEL}-5d4f8c9b7-{suffix}" for suffix in ("abcde", "fghij", "klmno")]
KEY = {"Authorization": "Bearer test-key-1234567890"}
REQUESTS = 60
STREAMS = 12
# Long enough for a pod to be told to end meanwhile: 200 tokens, 15 ms apart.
LONG_TOKENS = 200
QUICK = {"MOCK_TTFT_BASE_SECONDS": "0.02", "MOCK_DECODE_SECONDS_PER_TOKEN": "0.015"}


class Drill:
    """Everything that runs."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        (deployment,), (role,) = (of_kind(rendered("mock"), kind) for kind in ("Deployment", "Role"))
        self.cluster = FakeKubernetes(folder, name(deployment), replicas=3, rules=role["rules"])
        stack.callback(self.cluster.stop)
        (pod,) = pods(rendered("mock"))
        self.pods = [self._start(folder, pod, name, stack) for name in NAMES]
        for server in self.pods:
            server.wait_until_up(pod.server["readinessProbe"]["httpGet"]["path"])
        self.service = Nginx(folder, self.pods)
        stack.callback(self.service.stop)
        (endpoint,) = of_kind(rendered("monitoring"), "ServiceMonitor")[0]["spec"]["endpoints"]
        labels = [{"namespace": "default", "pod": name} for name in NAMES]
        self.prometheus = Prometheus(folder, self.pods, labels, endpoint["path"])
        stack.callback(self.prometheus.stop)

    def _start(self, folder: Path, pod: Pod, name: str, stack: ExitStack) -> Server:
        assert pod.server["command"] == ["python", "app.py"]
        environment = {**self.cluster.environment, **QUICK, **pod.environment("127.0.0.1", name)}
        server = start(folder, tuple(pod.server["args"]), environment)
        stack.callback(server.kill)
        return server

    def chat(self, stream: bool, model: str = MODEL, tokens: int = 6) -> Reply:
        """A request through nginx."""
        body = {"model": model, "stream": stream, "max_tokens": tokens, "ignore_eos": True}
        body |= {"messages": [{"role": "user", "content": "Say this is a test!"}]}
        return self.service.request("POST", "/v1/chat/completions", body, KEY)

    def page(self, server: Server) -> str:
        return server.get("/metrics").body.decode()

    def total(self, family: str) -> float:
        """The sum of a family over the pods."""
        return sum(server.gauge(family) for server in self.pods)


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    with ExitStack() as stack:
        yield Drill(tmp_path_factory.mktemp("drill"), stack)


def test_the_drill(drill: Drill) -> None:
    """The steps depend on each other."""
    send_traffic(drill)
    scale(drill)
    load_an_adapter(drill)
    ask_the_dashboards_questions(drill)
    drain_one(drill)
    assert not [server.logged() for server in drill.pods if "Traceback" in server.logged()]


def send_traffic(drill: Drill) -> None:
    """Each request is answered once, and the pods' counters add up to what the clients got."""
    assert drill.service.request("POST", "/v1/chat/completions", {}).status == 401
    assert drill.service.request("GET", "/health").status == 200
    with ThreadPoolExecutor(12) as clients:
        replies = list(clients.map(lambda number: drill.chat(stream=number % 2 == 0), range(REQUESTS)))
    assert Counter(reply.status for reply in replies) == {200: REQUESTS}
    whole = [reply.json() for number, reply in enumerate(replies) if number % 2]
    assert {answer["model"] for answer in whole} == {MODEL}
    assert all(len(replies[number].chunks()) >= 6 for number in range(0, REQUESTS, 2))
    eventually(
        lambda: drill.total("vllm:e2e_request_latency_seconds_count") == REQUESTS, what="every request is counted"
    )
    prompt = whole[0]["usage"]["prompt_tokens"]
    assert drill.total("vllm:prompt_tokens_total") == prompt * REQUESTS
    assert drill.total("vllm:generation_tokens_total") == 6 * REQUESTS
    # nginx takes turns: all three have worked, and their answers after the first came from the cache.
    assert all(server.gauge("vllm:e2e_request_latency_seconds_count") >= REQUESTS / 6 for server in drill.pods)
    assert drill.total("vllm:prefix_cache_queries_total") == prompt * REQUESTS


def scale(drill: Drill) -> None:
    """kubectl scale: the page shows what the README says, on every pod, without a request for each scrape."""
    logs = re.findall(r"```log\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for replicas, log in zip((1, 5), logs, strict=True):
        drill.cluster.scale(replicas)
        for server in drill.pods:
            eventually(
                lambda server=server, log=log: set(log.split("\n")) <= {*drill.page(server).split("\n"), ""},
                what=log,
            )
    assert {path for path, _ in drill.cluster.requests} == {"/apis/apps/v1/namespaces/default/deployments"}
    assert drill.cluster.watches() == len(drill.pods)
    drill.cluster.scale(3)


def load_an_adapter(drill: Drill) -> None:
    """What AIBrix's controller does with a ModelAdapter, on each pod; then requests name it."""
    (adapter,) = of_kind(rendered("lora"), "ModelAdapter")
    body = {"lora_name": name(adapter), "lora_path": adapter["spec"]["artifactURL"]}
    key = {"Authorization": f"Bearer {adapter['spec']['additionalConfig']['api-key']}"}
    for server in drill.pods:
        assert server.post("/v1/load_lora_adapter", body, key).status == 200
        models = {one["id"]: one["parent"] for one in server.get("/v1/models", key).json()["data"]}
        assert models[name(adapter)] == MODEL
    with ThreadPoolExecutor(6) as clients:
        answers = list(clients.map(lambda _: drill.chat(stream=False, model=name(adapter)).json(), range(6)))
    assert {answer["model"] for answer in answers} == {name(adapter)}


def ask_the_dashboards_questions(drill: Drill) -> None:
    """Each query of Grafana's dashboard gives numbers, while there is traffic."""
    (config,) = of_kind(rendered("monitoring"), "ConfigMap")
    dashboard = json.loads(config["data"]["vllm-mock.json"])
    variables = {"namespace": "default", "model_name": MODEL, "pod": ".*", "__rate_interval": "20s"}
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    choices = [variable["query"]["query"] for variable in dashboard["templating"]["list"][1:]]
    queries += [choice.removeprefix("label_values(").rpartition(", ")[0] for choice in choices]
    queries = [re.sub(r"\$(\w+)", lambda match: variables[match[1]], query) for query in queries]
    queries += adapter_queries()
    assert len(queries) > 40
    unanswered = set(queries)

    def ask() -> bool:
        drill.chat(stream=True)
        for query in list(unanswered):
            values = drill.prometheus.values(query)
            if values and not any(map(math.isnan, values)):
                unanswered.discard(query)
        return not unanswered

    eventually(ask, what=unanswered)
    assert drill.prometheus.values('count(up{namespace="default"} == 1)') == [3.0]
    assert drill.prometheus.values("max(vllm_mock:deployment_replicas)") == [3.0]


def adapter_queries() -> list[str]:
    """What prometheus-adapter asks by its rules, for each metric."""
    (config,) = of_kind(rendered("autoscaling/kubernetes-hpa"), "ConfigMap")
    parts = {"Series": "vllm:kv_cache_usage_perc", "LabelMatchers": 'namespace="default"', "GroupBy": "pod"}
    asked = []
    for rule in yaml.safe_load(config["data"]["config.yaml"])["rules"]:
        asked.append(rule["seriesQuery"])
        asked.append(re.sub(r"<<\.(\w+)>>", lambda match: parts[match[1]], rule["metricsQuery"]))
    return asked


def drain_one(drill: Drill) -> None:
    """A pod ends: it gets no new requests, then SIGTERM, while it streams. Every stream comes to its end."""
    ending, *others = drill.pods
    before = drill.total("vllm:e2e_request_latency_seconds_count")

    def started() -> float:
        running = drill.total("vllm:num_requests_running")
        return running + drill.total("vllm:e2e_request_latency_seconds_count") - before

    with ThreadPoolExecutor(2 * STREAMS) as clients:
        streams: list[Future[Reply]] = [
            clients.submit(drill.chat, stream=True, tokens=LONG_TOKENS) for _ in range(STREAMS)
        ]
        eventually(lambda: started() == STREAMS, what="every request has reached its pod")
        # What preStop waits for: nobody finds the pod any more.
        drill.service.tell(others)
        assert ending.gauge("vllm:num_requests_running") > 0
        ending.signal(signal.SIGTERM)
        eventually(lambda: ending.process.poll() is not None or ending.get("/ready").status == 503, what="not ready")
        later = [clients.submit(drill.chat, stream=False) for _ in range(STREAMS)]
        replies = [one.result() for one in (*streams, *later)]
    assert Counter(reply.status for reply in replies) == {200: 2 * STREAMS}
    for reply in replies[:STREAMS]:
        last = reply.chunks()[-1]
        assert last["choices"][0]["finish_reason"] == "length"
    assert ending.exit_code() == 0
    drill.pods = others
