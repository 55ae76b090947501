"""Is the server alive (/health, /ping), may it get traffic (/ready)."""

from typing import TYPE_CHECKING

from flask import Blueprint, Response

from vllm_mock.routes.replies import empty_reply, json_reply

if TYPE_CHECKING:
    from vllm_mock.services import Services


def health_blueprint(services: "Services") -> Blueprint:
    """The routes that probes and load balancers ask."""
    blueprint = Blueprint("health", __name__)
    lifecycle = services.lifecycle
    faults = services.faults

    def health() -> Response:
        return empty_reply(503 if lifecycle.draining or lifecycle.loading or faults.engine_dead else 200)

    def ready() -> Response:
        if lifecycle.ready and not faults.unready:
            return json_reply('{"status": "ready"}')
        return json_reply('{"status": "not ready"}', 503)

    blueprint.add_url_rule("/health", "health", health, methods=["GET"])
    blueprint.add_url_rule("/ready", "ready", ready, methods=["GET"])
    blueprint.add_url_rule("/ping", "ping", health, methods=["GET"])
    blueprint.add_url_rule("/ping", "ping_post", health, methods=["POST"])
    return blueprint
