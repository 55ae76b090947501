"""Work that does not go through the token engine: it takes its time, and ends when the client leaves."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vllm_mock.media.libraries import MissingLibrary
from vllm_mock.protocol.errors import ApiError
from vllm_mock.routes.openai import headers
from vllm_mock.routes.replies import DELAY, STARTED

if TYPE_CHECKING:
    from vllm_mock.services import Services

_LOOK_SECONDS = 0.1


class Work:
    """One request that a model of pictures, films or sound works at."""

    def __init__(self, services: "Services", environ: dict[str, Any]) -> None:
        self._services = services
        self._gone = False
        settings = services.settings
        self._first = environ[STARTED] + settings.time_to_first_token + environ.get(DELAY, 0.0)
        self._step = settings.inter_token_latency

    def leave(self) -> None:
        """The client is gone."""
        self._gone = True

    def wait(self, steps: float) -> None:
        """Block until that many steps of the model are done: the first takes the time to the first token, each further
        one that between tokens. Raises ApiError when there is nobody to wait for, or the server ends."""
        due = self._first + steps * self._step
        while True:
            if self._gone or self._services.lifecycle.aborting:
                raise ApiError.shutting_down()
            if self._services.faults.engine_dead:
                raise ApiError.engine_dead()
            left = due - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, _LOOK_SECONDS))


@contextmanager
def working(services: "Services", environ: dict[str, Any]) -> Iterator[Work]:
    """The request counts as being answered meanwhile. A missing package becomes a 501 that names it."""
    work = Work(services, environ)
    key = services.watcher.add(headers.connection(environ), work.leave)
    services.generating += 1
    try:
        yield work
    except MissingLibrary as missing:
        raise ApiError(501, str(missing), "NotImplementedError") from None
    finally:
        services.generating -= 1
        services.watcher.remove(key)
