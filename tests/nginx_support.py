"""A real nginx that distributes requests over servers, as a Service does over pods.

Needs Debian's package `nginx-light`; skipped where it is missing, unless REQUIRE_NGINX is set.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from raw_http import Reply, exchange
from server import Server, free_port

if shutil.which("nginx") is None:
    if os.environ.get("REQUIRE_NGINX"):
        raise RuntimeError("nginx is required here: apt-get install nginx-light")
    pytest.skip("nginx is not installed", allow_module_level=True)

START_SECONDS = 60.0
# How a worker calls itself once it accepts nothing any more.
LEAVING = "nginx: worker process is shutting down"
# No second try for a request that fails: what a server loses, the client sees.
CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream pods {{ {servers} }}
  server {{
    listen 127.0.0.1:{port};
    add_header X-Configuration {number} always;
    location / {{
      proxy_pass http://pods;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_next_upstream off;
    }}
  }}
}}
"""


def _title(pid: str) -> str:
    """What a process calls itself; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().strip("\0")
    except OSError:
        return ""


class Nginx:
    """Round robin over the servers it was last told of."""

    def __init__(self, folder: Path, servers: Sequence[Server]) -> None:
        self.port = free_port()
        self._folder = folder
        self._number = 0
        self._configure(servers)
        self._log = (folder / "nginx.log").open("wb")
        command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        self._wait_until_configured()

    def tell(self, servers: Sequence[Server]) -> None:
        """When this returns, new requests go to these servers; those under way go on."""
        self._configure(servers)
        self._process.send_signal(signal.SIGHUP)
        self._wait_until_configured()

    def _configure(self, servers: Sequence[Server]) -> None:
        self._number += 1
        upstream = " ".join(f"server 127.0.0.1:{server.port};" for server in servers)
        text = CONFIGURATION.format(folder=self._folder, servers=upstream, port=self.port, number=self._number)
        (self._folder / "nginx.conf").write_text(text)

    def _wait_until_configured(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        # For a moment, workers of before and after accept requests.
        while self._configuration() != str(self._number) or self._accepting_workers() != 1:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError((self._folder / "nginx.log").read_text())
            time.sleep(0.02)

    def _configuration(self) -> str | None:
        try:
            return self.request("GET", "/ping").header("X-Configuration")
        except OSError:
            return None

    def _accepting_workers(self) -> int:
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return sum(_title(child) not in ("", LEAVING) for child in children)

    def request(self, method: str, path: str, body: object = None, headers: Mapping[str, str] = {}) -> Reply:
        return exchange(self.port, method, path, body, headers, 60.0)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._log.close()
