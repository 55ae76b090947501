"""A real Prometheus for the tests that query one.

Needs Debian's package `prometheus`; skipped where it is missing, unless REQUIRE_PROMETHEUS is set.
"""

import json
import os
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from server import Server, free_port
from waiting_support import WAIT_SECONDS

if shutil.which("prometheus") is None or shutil.which("promtool") is None:
    if os.environ.get("REQUIRE_PROMETHEUS"):
        raise RuntimeError("prometheus and promtool are required here: apt-get install prometheus")
    pytest.skip("prometheus is not installed", allow_module_level=True)


class Prometheus:
    """A Prometheus with all of these servers as targets, scraped each 250 ms; `labels` are those of each target."""

    def __init__(
        self, folder: Path, servers: Sequence[Server], labels: Sequence[Mapping[str, str]] = (), path: str = "/metrics"
    ) -> None:
        self._port = free_port()
        of_each = labels or [{}] * len(servers)
        targets = [
            {"targets": [f"127.0.0.1:{server.port}"], "labels": dict(one)}
            for server, one in zip(servers, of_each, strict=True)
        ]
        job = {"job_name": "pods", "metrics_path": path, "static_configs": targets}
        config = {"global": {"scrape_interval": "250ms", "scrape_timeout": "250ms"}, "scrape_configs": [job]}
        (folder / "prometheus.json").write_text(json.dumps(config))
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.json'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def values(self, query: str) -> list[float]:
        """The values of an instant query; none while Prometheus is starting."""
        url = f"http://127.0.0.1:{self._port}/api/v1/query?" + urllib.parse.urlencode({"query": query})
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                result = json.load(reply)["data"]["result"]
        except OSError:
            return []
        return [float(one["value"][1]) for one in result]

    def expect(self, query: str, value: float, within: float = 1e-9) -> None:
        """Wait until a query of one value gives this one."""
        deadline = time.monotonic() + WAIT_SECONDS
        found: list[float] = []
        while time.monotonic() < deadline:
            found = self.values(query)
            if len(found) == 1 and abs(found[0] - value) <= within:
                return
            time.sleep(0.1)
        raise AssertionError(f"{query} gave {found}, not {value}")
