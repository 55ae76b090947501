"""Our worker without gevent until it runs: the parent, which serves nothing, needs none of it."""

from gunicorn.workers.base import Worker as BaseWorker


class Worker(BaseWorker):
    """Becomes the worker of gevent_worker.py in the process that was forked for it."""

    def init_process(self) -> None:
        from vllm_mock.serving.gevent_worker import Worker as GeventWorker

        self.__class__ = GeventWorker
        self.worker_connections = self.cfg.worker_connections
        self.init_process()
