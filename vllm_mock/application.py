"""The application of one worker, put together from services, blueprints and hooks."""

import contextlib
import gc
import threading
import time

from vllm_mock.mock_app import AnythingConverter, MockApp
from vllm_mock.routes import http
from vllm_mock.routes.health import health_blueprint
from vllm_mock.routes.openai.blueprint import openai_blueprint
from vllm_mock.routes.vllm.blueprint import vllm_blueprint
from vllm_mock.services import Services, build_services, watch_replicas
from vllm_mock.settings import Settings
from vllm_mock.tokenizer import TokenizerError

WARM_UP_DELAY_SECONDS = 0.02


def build(settings: Settings) -> MockApp:
    """Compose services, routes and hooks; raises SettingsError when the tokenizer cannot be loaded."""
    services = build_services(settings)
    app = MockApp("vllm_mock", static_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    app.url_map.converters["anything"] = AnythingConverter
    app.services = services
    app.pod_headers = [
        ("x-inference-pod", settings.pod_name),
        ("x-inference-namespace", settings.pod_namespace),
    ]
    app.register_blueprint(health_blueprint(services))
    app.register_blueprint(openai_blueprint(services))
    app.register_blueprint(vllm_blueprint(services))
    http.install(app, services)
    app.fill_route_table()
    services.peers.listen()
    services.control.take_over()
    watch_replicas(services)
    if services.kv_events is not None:
        services.kv_events.start()
    threading.Thread(target=_warm_up, args=(services,), name="warm-up", daemon=True).start()
    return app


def _warm_up(services: Services) -> None:
    """Do what the first request would otherwise wait for, then declare the worker ready."""
    from vllm_mock.protocol import warm_up as warm_up_protocol

    # Under gevent this shares the thread of all requests: let a waiting health probe go first.
    time.sleep(WARM_UP_DELAY_SECONDS)
    warm_up_protocol()
    services.generator.warm_up()
    # Jinja is imported by the first rendering; a template that cannot take this message says so to those who use it.
    with contextlib.suppress(TokenizerError):
        services.tokenizer.apply_chat_template([{"role": "user", "content": ""}])
    # What is there now stays: the collector need not go through it again and again.
    gc.collect()
    gc.freeze()
    # A request leaves no cycles behind; Python's default would look for some every few requests.
    gc.set_threshold(20_000, 20, 20)
    gc.enable()
    _give_memory_back()
    services.lifecycle.warm = True


def _give_memory_back() -> None:
    """Reading the tokenizer and building validators left holes in the heap; glibc can be asked to free them."""
    import ctypes

    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
