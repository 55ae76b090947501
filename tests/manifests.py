"""The manifests as `kubectl kustomize` renders them, and what is wrong with the references among them."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import yaml
from server import ROOT

Object = dict[str, Any]

CONFIG = ROOT / "config"
OVERLAYS = sorted(str(path.parent.relative_to(CONFIG)) for path in CONFIG.rglob("kustomization.yaml"))
# Overlays that are applied after another one, whose objects they name.
AFTER = {
    **{overlay: "mock" for overlay in OVERLAYS if overlay.startswith("autoscaling/")},
    "lora": "mock",
    "monitoring": "mock",
    "heterogeneous/autoscaling": "heterogeneous",
}
# Parts of other overlays: nobody applies them alone.
PARTS = [o for o in OVERLAYS if o.startswith("templates/") or o in ("heterogeneous/a100", "heterogeneous/a40")]
WHOLE = [overlay for overlay in OVERLAYS if overlay not in PARTS]
SERVER = "llm-engine"
_LABEL = re.compile(r"metadata\.labels\['(.+)'\]")

if shutil.which("kubectl") is None:
    if os.environ.get("REQUIRE_KUBECTL"):
        raise RuntimeError("kubectl is required here: see .ci/run")
    pytest.skip("kubectl is not installed", allow_module_level=True)


@cache
def rendered(overlay: str) -> tuple[Object, ...]:
    """The objects of an overlay."""
    done = subprocess.run(["kubectl", "kustomize", str(CONFIG / overlay)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def applied(overlay: str) -> list[Object]:
    """The objects in the cluster once an overlay is applied, those of the overlay before it included."""
    before = rendered(AFTER[overlay]) if overlay in AFTER else ()
    return [*before, *rendered(overlay)]


def of_kind(objects: Iterable[Object], kind: str) -> list[Object]:
    return [one for one in objects if one["kind"] == kind]


def name(one: Object) -> str:
    return one["metadata"]["name"]


@dataclass
class Pod:
    """The pods of one template; `owner` makes them."""

    owner: Object
    template: Object

    @property
    def labels(self) -> dict[str, str]:
        return self.template["metadata"]["labels"]

    @property
    def annotations(self) -> dict[str, str]:
        return self.template["metadata"].get("annotations", {})

    @property
    def containers(self) -> list[Object]:
        return self.template["spec"]["containers"]

    @property
    def server(self) -> Object:
        """The container of this project."""
        return next(one for one in self.containers if one["name"] == SERVER)

    @property
    def port(self) -> int:
        """Where the server listens."""
        return next(one["containerPort"] for one in self.server["ports"] if one["name"] == "serve")

    def ports(self) -> dict[str, int]:
        """The named ports of all containers."""
        return {port["name"]: port["containerPort"] for one in self.containers for port in one["ports"]}

    def environment(self, ip: str = "10.0.0.1", name: str = "a-pod") -> dict[str, str]:
        """The variables of the server's container in a pod of that address and name, labels read as Kubernetes does."""
        given = {
            "metadata.name": name,
            "metadata.namespace": self.owner["metadata"].get("namespace", "default"),
            "status.podIP": ip,
        }
        found = {}
        for variable in self.server["env"]:
            path = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
            label = _LABEL.fullmatch(path)
            value = self.labels.get(label[1], "") if label else given.get(path, "")
            found[variable["name"]] = variable.get("value", value)
        return found


def pods(objects: Iterable[Object]) -> list[Pod]:
    """Every pod template, those of StormServices' roles included."""
    found = []
    for one in objects:
        if one["kind"] == "Deployment":
            found.append(Pod(one, one["spec"]["template"]))
        elif one["kind"] == "StormService":
            found += [Pod(one, role["template"]) for role in one["spec"]["template"]["spec"]["roles"]]
    return found


def matches(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return bool(selector) and selector.items() <= labels.items()


def faults(objects: list[Object]) -> list[str]:
    """What names something that is not there, a sentence each."""
    return [*_pod_faults(objects), *_service_faults(objects), *_role_faults(objects), *_extension_faults(objects)]


def _pod_faults(objects: list[Object]) -> Iterator[str]:
    accounts = {name(one) for one in of_kind(objects, "ServiceAccount")}
    for pod in pods(objects):
        owner = f"{pod.owner['kind']} {name(pod.owner)}"
        if not matches(pod.owner["spec"]["selector"]["matchLabels"], pod.labels):
            yield f"{owner} does not select its own pods"
        account = pod.template["spec"].get("serviceAccountName")
        if account and account not in accounts:
            yield f"{owner}: there is no ServiceAccount {account}"
        for key in ("model.aibrix.ai/port", "model.aibrix.ai/metric-port"):
            if pod.labels.get(key) != str(pod.port):
                yield f"{owner}: label {key} is not the server's port"
        if pod.annotations.get("prometheus.io/port") != str(pod.port):
            yield f"{owner}: Prometheus is sent to another port"
        volumes = {volume["name"] for volume in pod.template["spec"].get("volumes", [])}
        for container in pod.containers:
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    yield f"{owner}: there is no volume {mount['name']}"
            ports = {port["name"] for port in container["ports"]}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                if container[probe]["httpGet"]["port"] not in ports:
                    yield f"{owner}: {probe} asks a port that {container['name']} does not have"
        yield from (f"{owner}: {variable} is empty" for variable, value in pod.environment().items() if not value)


def _service_faults(objects: list[Object]) -> Iterator[str]:
    for service in of_kind(objects, "Service"):
        selected = [pod for pod in pods(objects) if matches(service["spec"]["selector"], pod.labels)]
        if not selected:
            yield f"Service {name(service)} selects nothing"
        for pod in selected:
            for port in service["spec"]["ports"]:
                if port["targetPort"] not in pod.ports():
                    yield f"Service {name(service)}: no port {port['targetPort']} in {name(pod.owner)}"


def _role_faults(objects: list[Object]) -> Iterator[str]:
    roles = {name(one) for one in of_kind(objects, "Role")}
    accounts = {name(one) for one in of_kind(objects, "ServiceAccount")}
    for binding in of_kind(objects, "RoleBinding"):
        if binding["roleRef"]["name"] not in roles:
            yield f"RoleBinding {name(binding)} binds no Role"
        yield from (
            f"RoleBinding {name(binding)}: there is no ServiceAccount {subject['name']}"
            for subject in binding["subjects"]
            if subject["name"] not in accounts
        )


def _extension_faults(objects: list[Object]) -> Iterator[str]:
    there = {(one["apiVersion"], one["kind"], name(one)) for one in objects}
    for scaler in [*of_kind(objects, "PodAutoscaler"), *of_kind(objects, "HorizontalPodAutoscaler")]:
        target = scaler["spec"]["scaleTargetRef"]
        if (target["apiVersion"], target["kind"], target["name"]) not in there:
            yield f"{scaler['kind']} {name(scaler)} scales nothing"
        ports = {str(pod.port) for pod in pods(objects) if name(pod.owner) == target["name"]}
        for source in scaler["spec"].get("metricsSources", []):
            if source["metricSourceType"] == "pod" and {source["port"]} != ports:
                yield f"PodAutoscaler {name(scaler)} asks another port than the pods'"
    for adapter in of_kind(objects, "ModelAdapter"):
        selected = [pod for pod in pods(objects) if matches(adapter["spec"]["podSelector"]["matchLabels"], pod.labels)]
        if not selected:
            yield f"ModelAdapter {name(adapter)} selects nothing"
        if {pod.labels["model.aibrix.ai/name"] for pod in selected} != {adapter["spec"]["baseModel"]}:
            yield f"ModelAdapter {name(adapter)}: its base model is not that of the pods"
    for monitor in of_kind(objects, "ServiceMonitor"):
        selector = monitor["spec"]["selector"]["matchLabels"]
        services = [one for one in of_kind(objects, "Service") if matches(selector, one["metadata"]["labels"])]
        if not services:
            yield f"ServiceMonitor {name(monitor)} selects nothing"
        ports = {port["name"] for one in services for port in one["spec"]["ports"]}
        if not {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports:
            yield f"ServiceMonitor {name(monitor)} asks a port that the Service does not have"
