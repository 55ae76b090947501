"""GET /metrics in Prometheus' text format."""

from typing import TYPE_CHECKING

from flask import Blueprint, Response

from vllm_mock.routes.replies import text_reply

if TYPE_CHECKING:
    from vllm_mock.services import Services

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"
# The sub-application that vLLM mounts answers every other method and path with the older version.
MOUNTED_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER_METHODS = ["HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"]


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint."""

    def page() -> bytes:
        return services.faults.frozen_page() or services.metrics_page.render()

    def metrics() -> Response:
        return text_reply(page(), CONTENT_TYPE)

    def mounted(path: str = "") -> Response:
        return text_reply(page(), MOUNTED_CONTENT_TYPE)

    blueprint.add_url_rule("/metrics", "metrics", metrics, methods=["GET"])
    if services.settings.llm_engine == "trtllm":
        # Where trtllm-serve has it; AIBrix looks there.
        blueprint.add_url_rule("/prometheus/metrics", "prometheus_metrics", metrics, methods=["GET"])
    blueprint.add_url_rule("/metrics", "metrics_mounted", mounted, methods=OTHER_METHODS)
    blueprint.add_url_rule("/metrics/<anything:path>", "metrics_below", mounted, methods=["GET", *OTHER_METHODS])
