"""One watch on this pod's Deployment, so that a scrape knows the replicas without asking.

Needs the rights get, list and watch on deployments.apps. The kubernetes client is imported in here only.
"""

import logging
import os
import random
import threading
import time
from pathlib import Path
from typing import Any

from vllm_mock.metrics.replicas import ReplicaCount

# The API server ends a watch after that many seconds; a dead connection is noticed a little later.
WATCH_SECONDS = 240
READ_SECONDS = WATCH_SECONDS + 20
CONNECT_SECONDS = 5
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
_GONE = 410

logger = logging.getLogger(__name__)


def in_cluster(service_account: str) -> bool:
    """Whether this process runs in a pod that may talk to the API server; `service_account` is its folder."""
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and Path(service_account, "token").exists()


class DeploymentWatch:
    """Keeps a ReplicaCount up to date from a daemon thread; logs once per change of state."""

    def __init__(self, replicas: ReplicaCount, name: str, namespace: str, service_account: str) -> None:
        self._replicas = replicas
        self._name = name
        self._namespace = namespace
        self._service_account = service_account
        self._state = ""

    def start(self) -> None:
        """Begin to watch."""
        threading.Thread(target=self._run, name="deployment-watch", daemon=True).start()

    def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            began = time.monotonic()
            try:
                self._follow()
            except Exception as error:  # whatever the client raises, the last known count stays
                self._replicas.lose()
                self._say(f"the replicas of deployment {self._namespace}/{self._name} are unknown: {_reason(error)}")
            if time.monotonic() - began > LONGEST_PAUSE_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            time.sleep(pause * random.uniform(0.8, 1.2))
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _follow(self) -> None:
        """Read the Deployment, then follow its changes; raises when the API server cannot be asked."""
        api = self._api()
        selector = f"metadata.name={self._name}"
        while True:
            listed = api.list_namespaced_deployment(
                self._namespace, field_selector=selector, _request_timeout=(CONNECT_SECONDS, CONNECT_SECONDS)
            )
            if not listed.items:
                raise LookupError("there is no such deployment")
            self._confirm(listed.items[0])
            self._watch(api, selector, listed.metadata.resource_version)

    def _api(self) -> Any:
        from kubernetes import client
        from kubernetes.config.incluster_config import InClusterConfigLoader

        configuration = client.Configuration()
        folder = Path(self._service_account)
        InClusterConfigLoader(str(folder / "token"), str(folder / "ca.crt")).load_and_set(configuration)
        return client.AppsV1Api(client.ApiClient(configuration))

    def _watch(self, api: Any, selector: str, version: str) -> None:
        """Follow the changes since a resource version, until it is time to list again."""
        from kubernetes import client, watch

        events = watch.Watch().stream(
            api.list_namespaced_deployment,
            self._namespace,
            field_selector=selector,
            resource_version=version,
            timeout_seconds=WATCH_SECONDS,
            _request_timeout=(CONNECT_SECONDS, READ_SECONDS),
        )
        try:
            for event in events:
                # The client yields None for a line that is no event.
                if event is not None:
                    self._apply(event)
        except client.ApiException as error:
            # The resource version has expired: list again.
            if error.status != _GONE:
                raise

    def _apply(self, event: dict[str, Any]) -> None:
        if event["type"] == "DELETED":
            self._replicas.lose()
            self._say(f"deployment {self._namespace}/{self._name} was deleted; its last count of replicas stays")
        else:
            self._confirm(event["object"])

    def _confirm(self, deployment: Any) -> None:
        self._replicas.confirm(deployment.spec.replicas)
        self._say(f"watching the replicas of deployment {self._namespace}/{self._name}")

    def _say(self, state: str) -> None:
        if state != self._state:
            self._state = state
            logger.warning("%s", state)


def _reason(error: Exception) -> str:
    """One line for the log, without an API server's whole answer."""
    status = getattr(error, "status", None)
    if status:
        return f"HTTP {status} {getattr(error, 'reason', '')}".strip()
    return (str(error) or type(error).__name__).splitlines()[0][:200]
