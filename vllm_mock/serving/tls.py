"""HTTPS: one context for each process, and with --enable-ssl-refresh a new one whenever its files change."""

import logging
import os
import ssl
from collections.abc import Callable
from typing import Any

from vllm_mock.serving.arguments import process_settings
from vllm_mock.serving.patience import SLOW_REQUEST, SlowRequest, bounds
from vllm_mock.settings import Settings, SettingsError

logger = logging.getLogger(__name__)


def check(settings: Settings) -> None:
    """Raises SettingsError when the files or ciphers are of no use."""
    if settings.ssl_keyfile and not settings.ssl_certfile:
        raise SettingsError("--ssl-keyfile needs --ssl-certfile as well")
    if settings.ssl_certfile:
        make_context(settings)


def make_context(settings: Settings) -> ssl.SSLContext:
    """A server's context from the files as they are now; raises SettingsError."""
    assert settings.ssl_certfile is not None
    flag = "--ssl-ca-certs"
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=settings.ssl_ca_certs)
        flag = "--ssl-certfile, --ssl-keyfile"
        # Without a function that gives one, OpenSSL would ask the terminal for a password.
        context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile, password=lambda: "")
        flag = "--ssl-ciphers"
        if settings.ssl_ciphers:
            context.set_ciphers(settings.ssl_ciphers)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SettingsError(f"{flag}: {reason}") from None
    context.verify_mode = ssl.VerifyMode(settings.ssl_cert_reqs)
    return context


class Contexts:
    """The context of a process; with `refresh` a handshake gets the files as they are."""

    def __init__(self, settings: Settings, *, refresh: bool) -> None:
        self._settings = settings
        names = (settings.ssl_certfile, settings.ssl_keyfile, settings.ssl_ca_certs)
        self._files = [name for name in names if name]
        self._seen = self._stamps()
        self._current = make_context(settings)
        # Those who accept connections keep the first one for ever.
        self.first = self._current
        if refresh:
            self.first.sni_callback = self._choose

    def _choose(self, connection: Any, server_name: str | None, context: ssl.SSLContext) -> None:
        """Called at each handshake."""
        stamps = self._stamps()
        if stamps != self._seen:
            self._seen = stamps
            try:
                self._current = make_context(self._settings)
            except SettingsError as refusal:
                # Perhaps only half of the files are there; the rest will change the stamps again.
                logger.warning("the certificate stays what it was: %s", refusal)
        connection.context = self._current

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(name) for name in self._files]


def _stamp(name: str) -> tuple[int, int, int] | None:
    """What differs once a file was written or replaced; None if it is not there."""
    try:
        found = os.stat(name)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


_contexts: Contexts | None = None


def context(config: Any, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """gunicorn's hook: the context of this process, made once; its threaded worker asks at each connection."""
    global _contexts
    if _contexts is None:
        settings = process_settings()
        _contexts = Contexts(settings, refresh=settings.enable_ssl_refresh)
        if settings.request_read_timeout:
            _limit_handshake(_contexts.first, settings.request_read_timeout)
    return _contexts.first


def _limit_handshake(context: ssl.SSLContext, seconds: float) -> None:
    """Connections are wrapped with the handshake done, within so many seconds, or given up."""
    wrap = context.wrap_socket

    def wrap_patiently(sock: Any, **options: Any) -> ssl.SSLSocket:
        before = sock.gettimeout()
        sock.settimeout(seconds)
        try:
            wrapped = wrap(sock, **{**options, "do_handshake_on_connect": True})
        except TimeoutError:
            bounds.dropped(SLOW_REQUEST)
            raise SlowRequest from None
        wrapped.settimeout(before)
        return wrapped

    context.wrap_socket = wrap_patiently  # type: ignore[method-assign, assignment]
