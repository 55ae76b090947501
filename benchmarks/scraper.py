"""Scrapes /metrics at a steady rate beside a load, as several Prometheus servers and gateways would."""

import http.client
import os
import threading
import time

from server import cores


class Scraper:
    """A context manager: `rate` scrapes a second from one kept connection, on the client's core.

    `seconds` are the times of the scrapes, as the client sees them; `page_bytes` is the size of the last page.
    """

    def __init__(self, port: int, rate: float) -> None:
        self._port = port
        self._interval = 1.0 / rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.seconds: list[float] = []
        self.page_bytes = 0

    def __enter__(self) -> "Scraper":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        # For this thread alone.
        os.sched_setaffinity(0, {cores()[1]})
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            begin = time.monotonic()
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            page = answer.read()
            if answer.status != http.HTTPStatus.OK:
                raise RuntimeError(f"/metrics answered {answer.status}")
            self.seconds.append(time.monotonic() - begin)
            self.page_bytes = len(page)
            due = max(due + self._interval, time.monotonic())
        connection.close()
