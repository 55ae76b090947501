"""The Kubernetes manifests, as `kubectl kustomize` renders them."""

import shutil
import subprocess
from functools import cache
from typing import Any

import kubernetes_validate
import pytest
import yaml
from server import ROOT

from vllm_mock.settings import load
from vllm_mock.settings.inert import inert_flags
from vllm_mock.settings.settings import acting_flags

KUBERNETES_VERSION = "1.31"
CONFIG = ROOT / "config"
OVERLAYS = sorted(str(path.parent.relative_to(CONFIG)) for path in CONFIG.rglob("kustomization.yaml"))
# What the pods get beside our own settings.
OTHER_VARIABLES = {"MY_POD_IP"}

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")

Object = dict[str, Any]


@cache
def rendered(overlay: str) -> tuple[Object, ...]:
    """The objects of an overlay."""
    done = subprocess.run(["kubectl", "kustomize", str(CONFIG / overlay)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(overlay: str, kind: str) -> list[Object]:
    return [one for one in rendered(overlay) if one["kind"] == kind]


def containers(overlay: str) -> list[Object]:
    return [
        container
        for deployment in of_kind(overlay, "Deployment")
        for container in deployment["spec"]["template"]["spec"]["containers"]
    ]


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_objects_are_valid(overlay: str) -> None:
    for one in rendered(overlay):
        kubernetes_validate.validate(one, KUBERNETES_VERSION, strict=True)


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_references_reach_something(overlay: str) -> None:
    accounts = {one["metadata"]["name"] for one in of_kind(overlay, "ServiceAccount")}
    roles = {one["metadata"]["name"] for one in of_kind(overlay, "Role")}
    pods = [one["spec"]["template"] for one in of_kind(overlay, "Deployment")]
    for deployment in of_kind(overlay, "Deployment"):
        template = deployment["spec"]["template"]
        assert deployment["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        assert template["spec"]["serviceAccountName"] in accounts
        ports = {port["name"] for container in template["spec"]["containers"] for port in container["ports"]}
        for container in template["spec"]["containers"]:
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                assert container[probe]["httpGet"]["port"] in ports
    for service in of_kind(overlay, "Service"):
        selected = [pod for pod in pods if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()]
        assert selected
        for port in service["spec"]["ports"]:
            assert all(
                port["targetPort"]
                in {one["name"] for container in pod["spec"]["containers"] for one in container["ports"]}
                for pod in selected
            )
    for binding in of_kind(overlay, "RoleBinding"):
        assert binding["roleRef"]["name"] in roles
        assert {subject["name"] for subject in binding["subjects"]} <= accounts


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_server_knows_each_flag_and_variable(overlay: str) -> None:
    flags = [*acting_flags(), *inert_flags()]
    variables = {variable.name for flag in flags for variable in flag.environment} | OTHER_VARIABLES
    for container in containers(overlay):
        load(container["args"], {})
        assert {one["name"] for one in container["env"]} <= variables


@needs_kubectl
def test_the_mock_is_reached_by_the_readmes_names() -> None:
    (deployment,), (service,) = of_kind("mock", "Deployment"), of_kind("mock", "Service")
    assert deployment["metadata"]["name"] == service["metadata"]["name"] == "llama2-7b"
    assert [port["port"] for port in service["spec"]["ports"]] == [8000]
    (container,) = containers("mock")
    assert load(container["args"], {}).api_key == ["test-key-1234567890"]
    assert container["image"] == "aibrix/vllm-mock:nightly"
    # Time for preStop, the drain and the end.
    template = deployment["spec"]["template"]["spec"]
    drain = load(container["args"], {}).shutdown_timeout
    assert template["terminationGracePeriodSeconds"] >= 5 + drain + 5
    (role,) = of_kind("mock", "Role")
    assert role["rules"] == [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "watch"]}]
