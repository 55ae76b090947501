"""What the server says of itself: version, load, sources of KV events."""

from typing import TYPE_CHECKING

from flask import Blueprint, Response

from vllm_mock.metrics.overrides import SERVER_LOAD
from vllm_mock.protocol.json_text import compact
from vllm_mock.routes.replies import json_reply
from vllm_mock.version import VLLM_VERSION

KV_EVENT_SOURCE = "kv_event_source"

if TYPE_CHECKING:
    from vllm_mock.services import Services


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint."""

    def version() -> Response:
        return json_reply(f'{{"version":"{VLLM_VERSION}"}}')

    def load() -> Response:
        overridden = services.overrides.number(SERVER_LOAD)
        if overridden is not None:
            return json_reply(f'{{"server_load":{overridden:g}}}')
        # vLLM counts only with --enable-server-load-tracking, and says 0 without.
        tracked = services.settings.enable_server_load_tracking
        return json_reply(f'{{"server_load":{services.generating if tracked else 0}}}')

    def kv_event_sources() -> Response:
        sources = {} if services.kv_events is None else services.peers.ask_all(KV_EVENT_SOURCE)
        return json_reply(compact({str(rank): source for rank, source in sources.items()}))

    def kv_event_source(_argument: object) -> object:
        return None if services.kv_events is None else services.kv_events.source

    services.peers.register(KV_EVENT_SOURCE, kv_event_source)
    blueprint.add_url_rule("/version", "version", version, methods=["GET"])
    blueprint.add_url_rule("/load", "load", load, methods=["GET"])
    blueprint.add_url_rule("/kv_event_sources", "kv_event_sources", kv_event_sources, methods=["GET"])
