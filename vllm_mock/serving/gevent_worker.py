"""gunicorn's gevent worker with less work per request. The one module that imports gevent."""

from datetime import datetime
from typing import Any

import gevent
from gevent import events
from gunicorn.http import wsgi
from gunicorn.workers.ggevent import GeventWorker

from vllm_mock.serving.lean_response import LeanResponse


class Worker(GeventWorker):
    """Serves HTTP/1 over plain sockets by a shorter way; TLS takes gunicorn's own."""

    def init_process(self) -> None:
        # gevent would look for plug-ins among all installed packages, 8 ms at each of its twelve patches.
        events.notify_and_call_entry_points = events.notify
        self._plain = not self.cfg.is_ssl
        self._logs_access = self.log.access_log_enabled
        super().init_process()

    def _try_h2c_upgrade(self, *_: Any) -> bool:
        return False

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        if not self._plain:
            return super().handle_request(listener_name, req, sock, addr)
        self.cfg.pre_request(self, req)
        response, environ = wsgi.create(req, sock, addr, listener_name, self.cfg, LeanResponse)
        self.nr += 1
        if self.nr >= self.max_requests:
            self.alive = False
        if not self.alive:
            response.force_close()
        started = datetime.now() if self._logs_access else None
        try:
            self._answer(environ, response)
        except (gevent.GreenletExit, SystemExit):
            return None
        except OSError:
            raise
        except Exception:
            if not response.headers_sent:
                raise
            # The client must see a broken answer, not one that ended well.
            self.log.exception("Error handling request")
            raise StopIteration from None
        finally:
            if started is not None:
                self.log.access(response, req, environ, datetime.now() - started)
        if response.should_close():
            raise StopIteration
        # A client that always has its next request ready would otherwise keep all others waiting.
        gevent.sleep(0)
        return True

    def _answer(self, environ: dict[str, Any], response: LeanResponse) -> None:
        body = self.wsgi(environ, response.start_response)
        try:
            for data in body:
                response.write(data)
            response.close()
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()
