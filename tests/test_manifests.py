"""The Kubernetes manifests: valid against their schemas, consistent, and what they say to the server it understands."""

import copy
import json
from collections.abc import Callable
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from manifests import (
    AFTER,
    CONFIG,
    OVERLAYS,
    PARTS,
    SERVER,
    WHOLE,
    Object,
    applied,
    faults,
    name,
    of_kind,
    pods,
    rendered,
)
from server import ROOT

from vllm_mock.metrics.catalogue import LEGACY_FAMILIES, VLLM_FAMILIES
from vllm_mock.settings import load
from vllm_mock.settings.inert import inert_flags
from vllm_mock.settings.settings import acting_flags

KUBERNETES_VERSION = "1.31"
EXTENSIONS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "tests/crds").glob("*.yaml")}
VARIABLES = {variable.name for flag in (*acting_flags(), *inert_flags()) for variable in flag.environment}
# Seconds between the end of the drain and that of the process.
END_SECONDS = 5


def validate(one: Object) -> None:
    schema = EXTENSIONS.get(one["kind"].lower())
    if schema is None:
        kubernetes_validate.validate(one, KUBERNETES_VERSION, strict=True)
    else:
        jsonschema.Draft202012Validator(schema).validate(one)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_objects_are_valid(overlay: str) -> None:
    assert rendered(overlay)
    for one in rendered(overlay):
        validate(one)
    for pod in pods(rendered(overlay)):
        # A role's template is that of a pod, whatever the schema of its owner says.
        metadata = {**pod.template["metadata"], "name": "one-of-them"}
        validate({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod.template["spec"]})


@pytest.mark.parametrize("overlay", WHOLE)
def test_references_reach_something(overlay: str) -> None:
    assert faults(applied(overlay)) == []
    named = [(one["kind"], name(one)) for one in applied(overlay)]
    assert len(set(named)) == len(named)
    assert {one["metadata"]["namespace"] for one in applied(overlay)} == {"default"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_server_knows_each_flag_and_variable(overlay: str) -> None:
    for pod in pods(rendered(overlay)):
        environment = pod.environment()
        assert environment.keys() <= VARIABLES
        settings = load(pod.server["args"], environment)
        assert settings.ignored_flags == []
        assert settings.model == pod.labels["model.aibrix.ai/name"]
        assert settings.llm_engine == pod.labels["model.aibrix.ai/engine"]
        # Time for preStop, the drain and the end.
        (command, seconds) = pod.server["lifecycle"]["preStop"]["exec"]["command"]
        assert command == "sleep"
        needed = int(seconds) + settings.shutdown_timeout + END_SECONDS
        assert pod.template["spec"]["terminationGracePeriodSeconds"] >= needed
        assert pod.server["imagePullPolicy"] == ("Always" if overlay == "vke" else "IfNotPresent")
        assert pod.server["securityContext"]["readOnlyRootFilesystem"]
        assert [mount["mountPath"] for mount in pod.server["volumeMounts"]] == ["/tmp"]


@pytest.mark.parametrize("overlay", ["mock", "simulator", "heterogeneous", "vke", "sidecar", "kv-events"])
def test_a_pod_watches_its_own_deployment_and_may(overlay: str) -> None:
    for pod in pods(rendered(overlay)):
        assert pod.environment()["DEPLOYMENT_NAME"] == name(pod.owner)
    (role,) = of_kind(rendered(overlay), "Role")
    assert role["rules"] == [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "watch"]}]


@pytest.mark.parametrize(("overlay", "simulated"), [("mock", ""), ("simulator", "a100")])
def test_the_readmes_names_reach_the_mock_and_the_simulator(overlay: str, simulated: str) -> None:
    (deployment,), (service,) = (of_kind(rendered(overlay), kind) for kind in ("Deployment", "Service"))
    assert name(deployment) == name(service) == "llama2-7b"
    assert [port["port"] for port in service["spec"]["ports"]] == [8000]
    (pod,) = pods(rendered(overlay))
    settings = load(pod.server["args"], pod.environment())
    assert settings.api_key == ["test-key-1234567890"]
    assert settings.simulation == simulated
    assert pod.server["image"] == f"aibrix/vllm-{overlay}:nightly"
    # Neither needs anything that a plain cluster does not have.
    groups = {one["apiVersion"] for one in rendered(overlay)}
    assert groups == {"v1", "apps/v1", "rbac.authorization.k8s.io/v1"}


def test_the_makefile_builds_each_image() -> None:
    makefile = (ROOT / "Makefile").read_text().replace("$(IMAGES)", "aibrix")
    images = {pod.server["image"] for overlay in WHOLE for pod in pods(rendered(overlay))}
    for image in images - {pod.server["image"] for pod in pods(rendered("vke"))}:
        assert f"-t {image} " in makefile
    (there,) = {pod.server["image"] for pod in pods(rendered("vke"))}
    assert there.endswith("/aibrix/vllm-mock:nightly")


def test_two_devices_are_one_model() -> None:
    (service,) = of_kind(rendered("heterogeneous"), "Service")
    both = pods(rendered("heterogeneous"))
    assert {name(pod.owner).rpartition("-")[2]: pod.environment()["SIMULATION"] for pod in both} == {
        "a100": "a100",
        "a40": "a40",
    }
    assert all(service["spec"]["selector"].items() <= pod.labels.items() for pod in both)


def test_prefill_and_decode_have_what_the_gateway_reads() -> None:
    roles = {}
    for service in rendered("pd"):
        model = service["metadata"]["labels"]["model.aibrix.ai/name"]
        assert {pod.labels["model.aibrix.ai/name"] for pod in pods([service])} == {model}
        roles[name(service)] = [role["name"] for role in service["spec"]["template"]["spec"]["roles"]]
        # A pod's name is its host name, at most 63 characters, of which the controller adds about 40.
        assert len(name(service)) <= 24
    pairs = [names for service, names in roles.items() if service != "mock-llama2-pd-bkt-comb"]
    assert pairs == [["prefill", "decode"]] * 5
    assert roles["mock-llama2-pd-bkt-comb"] == ["all"]
    engines = {pod.labels["model.aibrix.ai/engine"] for pod in pods(rendered("pd"))}
    assert engines == {"vllm", "sglang", "trtllm"}
    for pod in pods(rendered("pd")):
        path = "/prometheus/metrics" if pod.labels["model.aibrix.ai/engine"] == "trtllm" else "/metrics"
        assert pod.annotations["prometheus.io/path"] == path
        profiles = json.loads(pod.annotations["model.aibrix.ai/config"])
        assert profiles["profiles"][profiles["defaultProfile"]]["routingStrategy"] == "pd"


def test_the_buckets_are_those_of_the_lengths() -> None:
    bounds = set()
    for pod in pods(rendered("pd/bucketing")):
        routing = json.loads(pod.annotations["model.aibrix.ai/config"])["profiles"]["pd"]["routingConfig"]
        bounds.add((routing["promptLenBucketMinLength"], routing.get("promptLenBucketMaxLength")))
        assert routing.get("combined", False) == (routing.get("promptLenBucketMaxLength") is None)
    assert bounds == {(0, 15), (16, 32), (0, None)}


def adapter_metrics() -> set[str]:
    """The names that prometheus-adapter gives to metrics."""
    (config,) = of_kind(rendered("autoscaling/kubernetes-hpa"), "ConfigMap")
    rules = yaml.safe_load(config["data"]["config.yaml"])["rules"]
    assert rules[0]["name"] == {"matches": "^vllm:(.+)$", "as": "${1}"}
    shown = {"avg_prompt_throughput_toks_per_s", "kv_cache_usage_perc", "num_requests_running", "num_requests_waiting"}
    assert all(one.removeprefix("num_requests_") in rules[0]["seriesQuery"] for one in shown)
    return shown | {rules[1]["name"]["as"]}


@pytest.mark.parametrize("overlay", [overlay for overlay in OVERLAYS if overlay.startswith("autoscaling/")])
def test_autoscalers_ask_for_metrics_that_there_are(overlay: str) -> None:
    families = {family.name.removeprefix("vllm:") for family in (*VLLM_FAMILIES, *LEGACY_FAMILIES)}
    for scaler in of_kind(rendered(overlay), "PodAutoscaler"):
        strategy, _, signal = overlay.removeprefix("autoscaling/").partition("-")
        assert scaler["spec"]["scalingStrategy"] == strategy.upper()
        (source,) = scaler["spec"]["metricsSources"]
        known = adapter_metrics() if strategy == "hpa" else families
        assert source["targetMetric"] in known
        assert ("throughput" in source["targetMetric"]) == (signal == "throughput")
        # AIBrix rounds the targets of an HPA up.
        assert strategy != "hpa" or float(source["targetValue"]).is_integer()
    for scaler in of_kind(rendered(overlay), "HorizontalPodAutoscaler"):
        asked = {one["pods"]["metric"]["name"] for one in scaler["spec"]["metrics"]}
        assert asked == {"avg_prompt_throughput_toks_per_s", "kv_cache_usage_perc"}
        assert asked <= adapter_metrics() & families


def test_the_adapter_has_the_pods_key() -> None:
    (adapter,) = of_kind(rendered("lora"), "ModelAdapter")
    (pod,) = pods(rendered("mock"))
    assert load(pod.server["args"], {}).api_key == [adapter["spec"]["additionalConfig"]["api-key"]]


def test_the_runtime_asks_the_server_beside_it() -> None:
    (pod,) = pods(rendered("sidecar"))
    assert [one["name"] for one in pod.containers] == [SERVER, "aibrix-runtime"]
    runtime = {one["name"]: one["value"] for one in pod.containers[1]["env"]}
    assert runtime["INFERENCE_ENGINE_ENDPOINT"] == f"http://localhost:{pod.port}"
    assert runtime["INFERENCE_ENGINE"] == pod.labels["model.aibrix.ai/engine"]
    assert pod.containers[1]["command"][-1] == str(pod.ports()["runtime"])


def test_kv_events_are_where_the_gateway_listens() -> None:
    (pod,) = pods(rendered("kv-events"))
    assert pod.labels["model.aibrix.ai/kv-events-enabled"] == "true"
    events = load(pod.server["args"], {}).kv_events_config
    assert events is not None
    assert (events["endpoint"], events["replay_endpoint"]) == ("tcp://*:5557", "tcp://*:5558")
    assert {"kv-events": 5557, "kv-replay": 5558}.items() <= pod.ports().items()


def test_every_folder_is_known() -> None:
    """An overlay that is added is either applied alone, after another one, or a part."""
    assert set(AFTER) | set(PARTS) < set(OVERLAYS)
    assert all((CONFIG / overlay).is_dir() for overlay in (*AFTER, *AFTER.values()))


def breaking(path: list[str | int], value: Any) -> Callable[[Object], None]:
    def change(one: Object) -> None:
        for step in path[:-1]:
            one = one[step]
        one[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("overlay", "kind", "change", "fault"),
    [
        ("mock", "Deployment", breaking(["spec", "selector", "matchLabels", "app"], "x"), "own pods"),
        ("mock", "Deployment", breaking(["spec", "template", "spec", "serviceAccountName"], "x"), "ServiceAccount x"),
        ("mock", "Deployment", breaking(["spec", "template", "metadata", "labels", "app"], ""), "DEPLOYMENT_NAME"),
        ("mock", "Deployment", breaking(["spec", "template", "spec", "volumes", 0, "name"], "x"), "no volume tmp"),
        ("mock", "Service", breaking(["spec", "selector"], {"app": "x"}), "selects nothing"),
        ("mock", "Service", breaking(["spec", "ports", 0, "targetPort"], "x"), "no port x"),
        ("mock", "RoleBinding", breaking(["roleRef", "name"], "x"), "binds no Role"),
        ("mock", "RoleBinding", breaking(["subjects", 0, "name"], "x"), "ServiceAccount x"),
        ("lora", "ModelAdapter", breaking(["spec", "baseModel"], "x"), "base model"),
        ("lora", "ModelAdapter", breaking(["spec", "podSelector", "matchLabels"], {"x": "y"}), "selects nothing"),
        ("monitoring", "ServiceMonitor", breaking(["spec", "selector", "matchLabels"], {"x": "y"}), "selects nothing"),
        ("monitoring", "ServiceMonitor", breaking(["spec", "endpoints", 0, "port"], "x"), "does not have"),
        ("autoscaling/kpa-throughput", "PodAutoscaler", breaking(["spec", "scaleTargetRef", "name"], "x"), "nothing"),
        (
            "autoscaling/kubernetes-hpa",
            "HorizontalPodAutoscaler",
            breaking(["spec", "scaleTargetRef", "kind"], "x"),
            "",
        ),
    ],
)
def test_a_dangling_reference_is_found(overlay: str, kind: str, change: Callable[[Object], None], fault: str) -> None:
    objects = copy.deepcopy(applied(overlay))
    (one,) = of_kind(objects, kind)
    change(one)
    assert any(fault in found for found in faults(objects))
