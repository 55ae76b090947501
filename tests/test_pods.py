"""Pods of the manifests as processes: their arguments and variables make the server that their labels state."""

import pytest
from manifests import pods, rendered
from server import ServerPool

# Names of the engines' metrics of finished requests.
FINISHED = {
    "vllm": "vllm:e2e_request_latency_seconds_count",
    "sglang": "sglang:e2e_request_latency_seconds_count",
    "trtllm": "trtllm_e2e_request_latency_seconds_count",
}


@pytest.mark.parametrize("overlay", ["simulator", "pd/vllm", "pd/sglang", "pd/trtllm"])
def test_metrics_carry_the_labels_model_and_engine(overlay: str, servers: ServerPool) -> None:
    pod = pods(rendered(overlay))[0]
    server = servers.get(*pod.server["args"], environ=pod.environment(name="the-first"))
    model = pod.labels["model.aibrix.ai/name"]
    body = {"model": model, "prompt": "Say this is a test!", "max_tokens": 2}
    reply = server.post("/v1/completions", body, {"Authorization": "Bearer test-key-1234567890"})
    assert reply.status == 200
    assert reply.json()["model"] == model
    assert (reply.header("x-inference-pod"), reply.header("x-inference-namespace")) == ("the-first", "default")
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert server.get(pod.server[probe]["httpGet"]["path"]).status == 200
    page = server.get(pod.annotations["prometheus.io/path"]).body.decode()
    family = FINISHED[pod.labels["model.aibrix.ai/engine"]]
    (counted,) = (line for line in page.splitlines() if line.startswith(family + "{"))
    assert f'model_name="{model}"' in counted
    assert float(counted.split()[-1]) == 1.0
