"""gunicorn's hooks: ranks of the workers, the start-up line, and a shutdown as vLLM's."""

import _thread
import gc
import os
import signal
from typing import Any

from gunicorn.http import wsgi

from vllm_mock.serving import announcement, http_dialect, patience
from vllm_mock.serving.arguments import BAD_SETTING, RANK_VARIABLE, WORKERS_VARIABLE, or_exit, process_settings
from vllm_mock.serving.preparation import prepare_simulation
from vllm_mock.shared import shared_store

_ranks: dict[object, int] = {}


def on_starting(server) -> None:
    """Before any worker exists: make what all of them inherit, and what takes longer than a worker may be silent."""
    or_exit(prepare_simulation, process_settings())
    # A setting that only a worker can judge (a tokenizer) is as bad as one that the parser refuses.
    server.APP_LOAD_ERROR = BAD_SETTING
    announcement.prepare()
    shared_store()


def pre_fork(server, worker) -> None:
    """Give the worker the lowest free data-parallel rank; it reads it from the environment after the fork."""
    # What the collector never looks at again, it does not write to: these pages stay shared.
    gc.freeze()
    taken = set(_ranks.values())
    rank = next(rank for rank in range(len(taken) + 1) if rank not in taken)
    _ranks[worker] = rank
    os.environ[RANK_VARIABLE] = str(rank)
    os.environ[WORKERS_VARIABLE] = str(server.num_workers)


def child_exit(server, worker) -> None:
    """A worker is gone: its rank is free for the next one."""
    _ranks.pop(worker, None)


def when_ready(server) -> None:
    """From now on a second signal ends the server at once."""
    first: list[int] = []

    def handle(signum, frame) -> None:
        if first:
            server.kill_workers(signal.SIGKILL)
            os._exit(0)
        first.append(signum)
        # gunicorn takes SIGINT as a quick stop; for vLLM both signals mean the same.
        server.signal(signal.SIGTERM, frame)

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def pre_request(worker, req) -> None:
    """What is no HTTP is refused; while draining, a kept-alive connection is closed after its next answer."""
    http_dialect.check(req)
    patience.bound(req)
    if worker.wsgi.draining:
        req.force_close()


def post_worker_init(worker) -> None:
    """Speak HTTP as uvicorn, and replace the worker's SIGTERM by a drain that answers probes with 503 meanwhile."""
    http_dialect.install()
    _settle(worker.cfg)
    app = worker.wsgi
    settings = process_settings()
    patience.install(
        settings,
        lambda reason: app.services.metrics.connection_dropped(reason),
        # Not by the setting's name: the class there may become another.
        cooperative="gevent" in type(worker).__module__,
    )
    started: list[int] = []

    def drain() -> None:
        app.services.drain()
        os.kill(os.getpid(), signal.SIGQUIT)

    def handle(signum, frame) -> None:
        if not started:
            started.append(signum)
            # Thread.start() would wait, which gevent's hub, where a signal may arrive, must not.
            _thread.start_new_thread(drain, ())

    signal.signal(signal.SIGTERM, handle)
    # A terminal's Ctrl-C reaches the whole process group: the master decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _settle(cfg: Any) -> None:
    """No setting changes any more: gunicorn need not look them up anew, some forty times a request."""
    vars(cfg).update({name: setting.get() for name, setting in cfg.settings.items()})
    environ = {**wsgi.base_environ(cfg), "wsgi.multithread": True}
    wsgi.base_environ = lambda cfg: environ.copy()
