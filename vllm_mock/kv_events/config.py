"""--kv-events-config: where events are published, per data-parallel rank."""

from dataclasses import dataclass, replace

from vllm_mock.settings import Settings, SettingsError


@dataclass(frozen=True, slots=True)
class KVEventsConfig:
    """vLLM's fields, in its order: GET /kv_event_sources shows them."""

    enable_kv_cache_events: bool = False
    publisher: str | None = None
    endpoint: str = "tcp://*:5557"
    replay_endpoint: str | None = None
    buffer_steps: int = 10_000
    hwm: int = 100_000
    max_queue_size: int = 100_000
    topic: str = ""

    def of_rank(self, rank: int) -> "KVEventsConfig":
        """The same with the endpoints of a rank. Raises SettingsError for an endpoint that only one rank can have."""
        replay = self.replay_endpoint and endpoint_of_rank(self.replay_endpoint, rank)
        return replace(self, endpoint=endpoint_of_rank(self.endpoint, rank), replay_endpoint=replay)


def active_config(settings: Settings) -> KVEventsConfig | None:
    """The configuration, or None where nothing is to be published."""
    config = KVEventsConfig(**(settings.kv_events_config or {}))
    if not config.enable_kv_cache_events or config.publisher == "null":
        return None
    return replace(config, publisher="zmq")


def endpoint_of_rank(endpoint: str, rank: int) -> str:
    """Rank r has the tcp port + r (0 stays: any free one), or the inproc name with the suffix _dpr."""
    if rank == 0:
        return endpoint
    if endpoint.startswith("inproc"):
        return f"{endpoint}_dp{rank}"
    address, colon, port = endpoint.rpartition(":")
    if not endpoint.startswith("tcp") or not port.isdecimal():
        raise SettingsError(f"--kv-events-config: {endpoint} has no place for a second rank; expected tcp or inproc")
    return endpoint if port == "0" else f"{address}{colon}{int(port) + rank}"


def is_bound(endpoint: str) -> bool:
    """Whether the publisher listens there, as vLLM decides it; else it connects."""
    return "*" in endpoint or "::" in endpoint or endpoint.startswith(("ipc://", "inproc://"))
