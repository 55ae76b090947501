"""Servers for the tests that speak HTTP."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import openai
import pytest
from hypothesis import HealthCheck, settings
from server import INSTANT, TINY, Server, ServerPool, running

# On a busy machine an example may take any time.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerPool]:
    """Shared servers, one per set of flags."""
    pool = ServerPool(tmp_path_factory.mktemp("servers"))
    yield pool
    pool.close()


@pytest.fixture
def server(servers: ServerPool) -> Server:
    """A server with nothing set but that there is nothing to wait for."""
    return servers.get(*INSTANT)


@pytest.fixture
def client(server: Server) -> openai.OpenAI:
    """The official SDK, which asks that server."""
    return server.openai()


@pytest.fixture
def tiny(servers: ServerPool) -> Server:
    """The captures' server: model tiny with alias2, 256 tokens of context, a token per character, no latency."""
    return servers.get(*TINY, *INSTANT)


@pytest.fixture
def launch(tmp_path) -> Iterator[Callable[..., Server]]:
    """Starts servers for one test alone, which may signal or kill them."""
    with ExitStack() as stack:
        yield lambda *flags, **options: stack.enter_context(running(tmp_path, flags, **options))
