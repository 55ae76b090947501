"""From the engine's events to the publisher: a thread that does both sides' work at each step."""

import sys
import threading
import time
from dataclasses import asdict
from typing import Any

from vllm_mock.engine import Engine
from vllm_mock.engine.block_hash import BlockHasher
from vllm_mock.engine.vllm_block_hash import VLLMBlockHasher
from vllm_mock.kv_events.config import KVEventsConfig, active_config
from vllm_mock.settings import Settings, SettingsError

# vLLM sends the events of each engine step as one batch; this is our step, a typical one of a real engine.
STEP_SECONDS = 0.02
# While no request runs, replays may wait as long as in vLLM.
IDLE_SECONDS = 0.1
_CLOSE_SECONDS = 2.0


def block_hasher(settings: Settings) -> BlockHasher | None:
    """vLLM's hashes when events are on, else None: nobody sees them. Raises SettingsError without their package."""
    if active_config(settings) is None:
        return None
    algorithm = settings.prefix_caching_hash_algo
    try:
        return VLLMBlockHasher(algorithm, settings.block_size, settings.python_hash_seed)
    except ImportError:
        raise SettingsError(f"--prefix-caching-hash-algo {algorithm} needs the package xxhash") from None


class KVEventService:
    """Publishes the events of one engine, and closes its sockets in the end."""

    def __init__(self, settings: Settings, config: KVEventsConfig, engine: Engine, rank: int) -> None:
        """Opens the sockets, hence after the fork. Raises SettingsError when they cannot be opened."""
        try:
            from vllm_mock.kv_events.publisher import ZmqPublisher, give_way
            from vllm_mock.kv_events.wire import EventEncoder
        except ImportError as error:
            raise SettingsError(f"--kv-events-config needs the packages pyzmq and msgspec ({error})") from None
        self._engine = engine
        self._publisher = ZmqPublisher(config.of_rank(rank), settings.host_ip, give_way)
        self._encoder = EventEncoder(
            settings.block_size,
            rank,
            as_arrays=settings.kv_events_format == "array",
            integers=settings.kv_events_use_int_block_hashes,
        )
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kv-events", daemon=True)

    @property
    def source(self) -> dict[str, Any]:
        """The configuration with the endpoints in use."""
        return asdict(self._publisher.config)

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def close(self) -> None:
        """Publish what is left and close the sockets; returns when that is done, or after two seconds."""
        self._closing.set()
        self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._step()
            if self._engine.running:
                self._closing.wait(STEP_SECONDS)
            else:
                self._engine.wait_for_kv_events(IDLE_SECONDS)
        self._step()
        self._publisher.close()

    def _step(self) -> None:
        try:
            # In this order a replay holds all that happened before it was asked for.
            requests = self._publisher.replay_requests()
            if events := self._engine.take_kv_events():
                self._publisher.publish(self._encoder.batch(time.time(), events))
            for request in requests:
                self._publisher.replay(request)
        except Exception:
            # The next step may succeed, and the engine's log must not grow for ever.
            sys.excepthook(*sys.exc_info())


def open_service(settings: Settings, engine: Engine, rank: int) -> KVEventService | None:
    """The service of a worker, None when no events are to be published."""
    config = active_config(settings)
    return None if config is None else KVEventService(settings, config, engine, rank)
