"""The part of a Kubernetes API server that a watch on one Deployment needs, over TLS and with a bearer token."""

import contextlib
import json
import ssl
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import trustme

TOKEN = "token-of-the-service-account"
READER = ({"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "watch"]},)


class FakeKubernetes:
    """Holds one Deployment; every change is told to the watches that are open.

    `rules`: what the pods' Role allows. `forbidden`: answer 403, as for a service account without rights.
    `requests`: (path, query) of each request.
    """

    def __init__(
        self,
        folder: Path,
        name: str = "llama2-7b",
        namespace: str = "default",
        replicas: int | None = 1,
        rules: Sequence[Mapping[str, list[str]]] = READER,
    ) -> None:
        self._rules = rules
        self.name = name
        self.namespace = namespace
        self.forbidden = False
        self.requests: list[tuple[str, dict[str, list[str]]]] = []
        self._changed = threading.Condition()
        self._version = 100
        self._expired_before = 0
        self._replicas: int | None = replicas
        self._exists = True
        self._events: list[tuple[int, str, dict]] = []
        self._connections: set = set()
        self.service_account = folder / "serviceaccount"
        self.service_account.mkdir()
        (self.service_account / "token").write_text(TOKEN)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.service_account / "ca.crt")
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(self._tls)
        self.port = 0
        self._server: ThreadingHTTPServer | None = None
        self.start()

    @property
    def environment(self) -> dict[str, str]:
        """What a pod of this cluster has in its environment."""
        return {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.port),
            "KUBERNETES_SERVICE_ACCOUNT": str(self.service_account),
            "DEPLOYMENT_NAME": self.name,
            "POD_NAMESPACE": self.namespace,
            "STANDALONE_MODE": "false",
        }

    def start(self) -> None:
        """Listen, on the same port as before."""
        server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler(), bind_and_activate=False)
        server.allow_reuse_address = True
        server.daemon_threads = True
        server.server_bind()
        server.server_activate()
        server.socket = self._tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = server.server_address[1]
        self._server = server
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Go away, with every open connection."""
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
        self.drop_connections()

    def drop_connections(self) -> None:
        """Cut the open watches."""
        with self._changed:
            connections, self._connections = self._connections, set()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(2)

    def scale(self, replicas: int | None) -> None:
        """kubectl scale; None leaves spec.replicas out."""
        self._change("MODIFIED", replicas, exists=True)

    def delete(self) -> None:
        """kubectl delete deployment."""
        self._change("DELETED", self._replicas, exists=False)

    def create(self, replicas: int) -> None:
        """kubectl create deployment."""
        self._change("ADDED", replicas, exists=True)

    def expire(self) -> None:
        """Forget the history: watches since an older version get 410 Gone."""
        with self._changed:
            self._version += 1
            self._expired_before = self._version
            self._changed.notify_all()

    def watches(self) -> int:
        """How many watches were opened so far."""
        return sum("watch" in query for _, query in self.requests)

    def allows(self, group: str, resource: str, verb: str) -> bool:
        """Whether a rule of the Role gives this right."""
        return any(
            group in rule["apiGroups"] and resource in rule["resources"] and verb in rule["verbs"]
            for rule in self._rules
        )

    def _change(self, kind: str, replicas: int | None, *, exists: bool) -> None:
        with self._changed:
            self._version += 1
            self._replicas = replicas
            self._exists = exists
            self._events.append((self._version, kind, self._deployment()))
            self._changed.notify_all()

    def _deployment(self) -> dict:
        labels = {"app": self.name}
        spec: dict = {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "llm-engine"}]}},
        }
        if self._replicas is not None:
            spec["replicas"] = self._replicas
        metadata = {"name": self.name, "namespace": self.namespace, "resourceVersion": str(self._version)}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                self.request.settimeout(60)
                self.request.do_handshake()
                super().setup()

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = parse_qs(parts.query)
                cluster.requests.append((parts.path, query))
                if self.headers.get("Authorization") != f"bearer {TOKEN}":
                    return self.refuse(401, "Unauthorized")
                if cluster.forbidden or not cluster.allows(
                    "apps", "deployments", "watch" if "watch" in query else "list"
                ):
                    return self.refuse(403, "Forbidden")
                if parts.path != f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments":
                    return self.refuse(404, "NotFound")
                if query.get("fieldSelector") != [f"metadata.name={cluster.name}"]:
                    return self.refuse(403, "Forbidden")
                return self.watch(int(query["resourceVersion"][0])) if "watch" in query else self.list()

            def list(self) -> None:
                with cluster._changed:
                    items = [cluster._deployment()] if cluster._exists else []
                    metadata = {"resourceVersion": str(cluster._version)}
                self.reply(
                    200, {"kind": "DeploymentList", "apiVersion": "apps/v1", "metadata": metadata, "items": items}
                )

            def watch(self, version: int) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                with cluster._changed:
                    cluster._connections.add(self.connection)
                with contextlib.suppress(OSError):
                    while True:
                        news, gone = cluster._wait_for_news(version)
                        for number, kind, deployment in news:
                            version = number
                            self.chunk({"type": kind, "object": deployment})
                        if gone:
                            status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
                            self.chunk({"type": "ERROR", "object": status})
                            self.wfile.write(b"0\r\n\r\n")
                            return
                self.close_connection = True

            def chunk(self, document: dict) -> None:
                line = json.dumps(document).encode() + b"\n"
                self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                self.wfile.flush()

            def refuse(self, code: int, reason: str) -> None:
                self.reply(code, {"kind": "Status", "status": "Failure", "reason": reason, "code": code})

            def reply(self, code: int, document: dict) -> None:
                body = json.dumps(document).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Quiet."""

        return Handler

    def _wait_for_news(self, version: int) -> tuple[list[tuple[int, str, dict]], bool]:
        """Events after a version, or that it is too old."""
        with self._changed:
            self._changed.wait_for(lambda: version < self._version, timeout=30)
            if version < self._expired_before:
                return [], True
            return [event for event in self._events if event[0] > version], False
