"""/openapi.json and the pages that show it, unless --disable-fastapi-docs."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Blueprint, Response, current_app

from vllm_mock.protocol.json_text import compact, to_bytes
from vllm_mock.routes.replies import json_reply, text_reply

if TYPE_CHECKING:
    from vllm_mock.protocol.openapi import Operation
    from vllm_mock.services import Services

HTML = "text/html; charset=utf-8"
PAGE = Path(__file__).parents[2] / "data" / "docs.html"
OAUTH_PAGE = "<!DOCTYPE html>\n<html><head><title>vllm-mock</title></head><body>Nothing to log in to.</body></html>\n"
# What FastAPI leaves out of its document, too: the pages themselves, and what is mounted below /metrics.
HIDDEN = ("page ", "openapi", "metrics_mounted", "metrics_below")


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint."""
    if services.settings.disable_fastapi_docs:
        return

    def show() -> Response:
        return text_reply(PAGE.read_bytes(), HTML)

    def oauth() -> Response:
        return text_reply(OAUTH_PAGE, HTML)

    for path, page in (("/docs", show), ("/redoc", show), ("/docs/oauth2-redirect", oauth)):
        blueprint.add_url_rule(path, f"page {path[1:]}", page, methods=["GET", "HEAD"])

    rendered: list[bytes] = []

    def openapi() -> Response:
        if not rendered:
            from vllm_mock.protocol.openapi import document

            rendered.append(to_bytes(compact(document(_operations()))))
        return json_reply(rendered[0])

    blueprint.add_url_rule("/openapi.json", "openapi", openapi, methods=["GET", "HEAD"])


def _operations() -> Iterator["Operation"]:
    """Every method of every route that is no secret."""
    from vllm_mock.protocol.openapi import Operation

    for rule in current_app.url_map.iter_rules():
        endpoint = rule.endpoint.rpartition(".")[2]
        if endpoint.startswith(HIDDEN):
            continue
        name = current_app.view_functions[rule.endpoint].__name__
        for method in sorted(rule.methods or ()):
            yield Operation(rule.rule, method, name)
