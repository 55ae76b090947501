"""gunicorn's gevent worker with less work per request. The one module that imports gevent."""

import ssl
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import gevent
from gevent import events
from gevent.hub import Waiter
from gevent.threadpool import ThreadPool
from gunicorn import http
from gunicorn.http import wsgi
from gunicorn.http.parser import RequestParser
from gunicorn.workers.ggevent import GeventWorker

from vllm_mock.serving.lean_request import LeanRequest, may_read
from vllm_mock.serving.lean_response import LeanResponse
from vllm_mock.serving.lingering import close_gracefully
from vllm_mock.serving.preemption import Preemption
from vllm_mock.serving.pump import Flow, Pump
from vllm_mock.turns import run_apart_by

if TYPE_CHECKING:
    from vllm_mock.routes.pacing import Step

NEVER = float("inf")
# Threads for what C functions compute without the interpreter; none before the first needs one.
THREADS = 4
# The head of a request of the usual size; gunicorn's own number.
READ_BYTES = 8192


class Pumping:
    """Runs a pump whenever one of its flows is due, in a greenlet that one timer wakes."""

    def __init__(self) -> None:
        self._hub = gevent.get_hub()
        self._pump = Pump()
        self._timer: Any = None
        # When the timer fires, in monotonic seconds; meaningless while the pump runs.
        self._wakes_at = NEVER
        self._runs = True
        self._greenlet = gevent.spawn(self._run)

    def follow(self, steps: "Iterator[Step]", response: LeanResponse) -> None:
        """Take a stream to its end; what is then unsent leaves with `response.close()`."""
        waiter: Any = Waiter(self._hub)
        flow = Flow(steps, response, lambda: self._hub.loop.run_callback(waiter.switch, None))
        try:
            resume_at = _catch_up(flow, steps, response)
            while resume_at is not None:
                self._add(flow, resume_at)
                waiter.get()
                waiter.clear()
                if flow.error is not None:
                    raise flow.error
                if (resume_at := flow.resume_at) is not None:
                    response.send(b"")
                else:
                    resume_at = _catch_up(flow, steps, response)
        finally:
            flow.drop()

    def _add(self, flow: Flow, resume_at: float) -> None:
        goes_on_at = self._pump.add(flow, resume_at)
        if not self._runs and goes_on_at < self._wakes_at:
            self._set_timer(goes_on_at)

    def _set_timer(self, wakes_at: float) -> None:
        if self._timer is not None:
            self._timer.close()
        self._wakes_at = wakes_at
        self._timer = self._hub.loop.timer(max(0.0, wakes_at - time.monotonic()))
        self._timer.start(self._greenlet.switch, update=True)

    def _run(self) -> None:
        while True:
            wakes_at = self._pump.run()
            self._runs = False
            if wakes_at is None:
                self._wakes_at = NEVER
            else:
                self._set_timer(wakes_at)
            self._hub.switch()
            self._runs = True


def _catch_up(flow: Flow, steps: "Iterator[Step]", response: LeanResponse) -> float | None:
    """Sends all up to the next wait, even if it takes long; when that ends, or None at the end of the stream."""
    for step in steps:
        if isinstance(step, bytes):
            response.unsent += response.frame(step)
            continue
        response.send(b"")
        if step is not None:
            return flow.wait(step)
    return None


class Apart:
    """Runs functions in threads of the system while greenlets go on."""

    def __init__(self) -> None:
        self._threads = ThreadPool(THREADS)

    def run(self, compute: Callable[[], object]) -> object:
        """Returns or raises what `compute` does."""
        result, error = self._threads.apply(_outcome, (compute,))
        if error is not None:
            raise error
        return result


def _outcome(compute: Callable[[], object]) -> tuple[object, Exception | None]:
    # gevent prints a traceback for each exception in one of its threads.
    try:
        return compute(), None
    except Exception as error:
        return None, error


class LeanParser(RequestParser):
    """Takes a request that is there already; sets a timer only for a client that keeps us waiting for its next one."""

    mesg_class = LeanRequest
    mesg: Any

    def __next__(self) -> Any:
        """The next request; None when it did not begin within --keepalive seconds. Raises StopIteration at the end."""
        waits = False
        try:
            request = self._arrived()
            if request is not None:
                return request
        except BlockingIOError:
            waits = True
        with gevent.Timeout(self.cfg.keepalive or None, False):
            if waits:
                sock = self.unreader.sock
                sock._wait(sock._read_event)
            return super().__next__()
        return None

    def _arrived(self) -> LeanRequest | None:
        """The next request, if its head comes at once and nothing else is to be read before it.

        Raises BlockingIOError when nothing is there.
        """
        last, unreader = self.mesg, self.unreader
        if last is not None:
            if last.should_close():
                raise StopIteration
            if not last.all_here:
                return None
        if unreader.buf.getvalue():
            return None
        data = unreader.sock._sock.recv(READ_BYTES)
        if not data:
            raise StopIteration
        if b"\r\n\r\n" not in data:
            unreader.unread(data)
            return None
        self.req_count += 1
        request = self.mesg = LeanRequest(self.cfg, unreader, self.source_addr, self.req_count, data)
        return request


class _NoTimeout:
    """LeanParser has its own."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


class Worker(GeventWorker):
    """Serves HTTP/1 over plain sockets by a shorter way; TLS takes gunicorn's own."""

    # For the time in which the next request must come.
    _timeout: _NoTimeout | None = None

    def init_process(self) -> None:
        # gevent would look for plug-ins among all installed packages, 8 ms at each of its twelve patches.
        events.notify_and_call_entry_points = events.notify
        self._plain = not self.cfg.is_ssl
        self._logs_access = self.log.access_log_enabled
        super().init_process()

    def run(self) -> None:
        self._pumping = Pumping()
        loop = gevent.get_hub().loop
        # The loop keeps the time at which its present round began, by the clock that may be set meanwhile.
        self._preemption = Preemption(lambda: abs(time.time() - loop.now()))
        self._preemption.start()
        run_apart_by(Apart().run)
        if not self._plain:
            # gevent would print a traceback for each client that dislikes our certificate or leaves in the handshake.
            hub = gevent.get_hub()
            hub.NOT_ERROR = (*hub.NOT_ERROR, ssl.SSLError, ConnectionError)
        elif may_read(self.cfg):
            http.RequestParser = LeanParser
            self._timeout = _NoTimeout()
        super().run()

    def timeout_ctx(self) -> Any:
        return self._timeout or super().timeout_ctx()

    def _try_h2c_upgrade(self, *_: Any) -> bool:
        return False

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        try:
            return self._handle(listener_name, req, sock, addr)
        except StopIteration:
            if hasattr(req.body, "reader"):
                # Perhaps the client is still sending; a reset would hide the answer from it.
                close_gracefully(sock)
            raise

    def _handle(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        if not self._plain:
            return self._handle_encrypted(listener_name, req, sock, addr)
        self.cfg.pre_request(self, req)
        response, environ = self._begin(listener_name, req, sock, addr)
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

    def _handle_encrypted(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        computing = self._preemption.begin()
        try:
            return super().handle_request(listener_name, req, sock, addr)
        finally:
            self._preemption.end(computing)

    def _begin(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> tuple[LeanResponse, dict[str, Any]]:
        """The response to be filled, and the environ."""
        if isinstance(listener_name, tuple) and getattr(req, "environ", None) is not None:
            return LeanResponse(req, sock, self.cfg), req.addressed(sock, addr, listener_name)
        return wsgi.create(req, sock, addr, listener_name, self.cfg, LeanResponse)

    def _answer(self, environ: dict[str, Any], response: LeanResponse) -> None:
        computing = self._preemption.begin()
        try:
            self._compute(environ, response)
        finally:
            self._preemption.end(computing)

    def _compute(self, environ: dict[str, Any], response: LeanResponse) -> None:
        body = self.wsgi(environ, response.start_response)
        try:
            steps = getattr(body, "steps", None)
            if steps is not None:
                self._pumping.follow(steps, response)
            else:
                for data in body:
                    response.write(data)
            response.close()
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()
