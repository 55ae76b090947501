"""gunicorn's settings, the same for `python app.py` and `gunicorn wsgi:app`."""

import gc
import os
import tempfile

from vllm_mock.serving import hooks
from vllm_mock.serving.arguments import or_exit, process_settings
from vllm_mock.serving.descriptors import connections

_settings = process_settings()
# Start-up makes no garbage worth looking for; a worker enables the collector when it is ready.
gc.disable()

on_starting = hooks.on_starting
pre_fork = hooks.pre_fork
child_exit = hooks.child_exit
when_ready = hooks.when_ready
pre_request = hooks.pre_request
post_worker_init = hooks.post_worker_init

bind = f"unix:{_settings.uds}" if _settings.uds else f"{_settings.host or '0.0.0.0'}:{_settings.port}"
# A parent of one worker needs no gevent; several share what it has loaded.
_module = "deferred_worker" if _settings.data_parallel_size == 1 else "gevent_worker"
worker_class = f"vllm_mock.serving.{_module}.Worker"
workers = _settings.data_parallel_size
worker_connections = or_exit(connections)
backlog = 4096
keepalive = 5
# A worker that shows no life for that long is replaced, with all its streams: a starved machine is no reason for it.
timeout = 120
# Gateways add long headers and addresses. For the line 0 is no limit; a field it would keep to 8 KiB.
limit_request_line = 0
limit_request_fields = _settings.h11_max_header_count
limit_request_field_size = 65_536
graceful_timeout = int(_settings.shutdown_timeout) + 5
# A client must not set the path of the application, not even from this machine.
forwarder_headers = ""
# Whether a peer is trusted would be looked up at each request; of what it may then say, only the scheme is left.
forwarded_allow_ips = "*"
secure_scheme_headers = {"X-FORWARDED-PROTO": "https"}
preload_app = False
# Workers show by a file that they live: in memory, so that a read-only root file system will do.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
# Large uploads are spooled to files: there as well where no other folder can be written.
try:
    tempfile.gettempdir()
except FileNotFoundError:
    tempfile.tempdir = worker_tmp_dir
control_socket_disable = True
proc_name = "vllm-mock"
# The one line of start-up says what gunicorn's information would.
loglevel = {"trace": "debug", "info": "warning"}.get(_settings.uvicorn_log_level, _settings.uvicorn_log_level)
errorlog = "-"
logger_class = "vllm_mock.serving.access_log.Logger"
accesslog = "-" if _settings.enable_access_log else None

if _settings.ssl_certfile or _settings.ssl_keyfile:
    from vllm_mock.serving import tls

    or_exit(tls.check, _settings)
    certfile = _settings.ssl_certfile
    keyfile = _settings.ssl_keyfile
    ssl_context = tls.context
