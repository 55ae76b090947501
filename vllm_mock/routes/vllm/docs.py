"""/openapi.json and the pages that show it, unless --disable-fastapi-docs."""

from typing import TYPE_CHECKING

from flask import Blueprint, Response, current_app

from vllm_mock.protocol.json_text import compact
from vllm_mock.routes.replies import json_reply, text_reply
from vllm_mock.version import VLLM_VERSION

if TYPE_CHECKING:
    from vllm_mock.services import Services

HTML = "text/html; charset=utf-8"
SWAGGER = "https://cdn.jsdelivr.net/npm/swagger-ui-dist@5"
REDOC = "https://cdn.jsdelivr.net/npm/redoc@2/bundles/redoc.standalone.js"

DOCS_PAGE = f"""<!DOCTYPE html>
<html><head><title>vllm-mock</title><link rel="stylesheet" href="{SWAGGER}/swagger-ui.css"></head>
<body><div id="ui"></div><script src="{SWAGGER}/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({{url: "openapi.json", dom_id: "#ui"}})</script></body></html>
"""
REDOC_PAGE = f"""<!DOCTYPE html>
<html><head><title>vllm-mock</title></head>
<body><redoc spec-url="openapi.json"></redoc><script src="{REDOC}"></script></body></html>
"""
OAUTH_PAGE = "<!DOCTYPE html>\n<html><head><title>vllm-mock</title></head><body>Nothing to log in to.</body></html>\n"


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint."""
    if services.settings.disable_fastapi_docs:
        return
    pages = {"/docs": DOCS_PAGE, "/redoc": REDOC_PAGE, "/docs/oauth2-redirect": OAUTH_PAGE}
    for path, page in pages.items():

        def show(page: str = page) -> Response:
            return text_reply(page, HTML)

        blueprint.add_url_rule(path, f"page {path[1:]}", show, methods=["GET", "HEAD"])

    def openapi() -> Response:
        return json_reply(compact(_description()))

    blueprint.add_url_rule("/openapi.json", "openapi", openapi, methods=["GET", "HEAD"])


def _description() -> dict[str, object]:
    """Every path with its methods, as an OpenAPI 3.1 document."""
    paths: dict[str, dict[str, object]] = {}
    for rule in current_app.url_map.iter_rules():
        path = rule.rule.replace("<path:", "{").replace("<", "{").replace(">", "}")
        for method in sorted(rule.methods or ()):
            operation = {
                "operationId": f"{rule.endpoint} {method}",
                "responses": {"200": {"description": "OK"}},
            }
            paths.setdefault(path, {})[method.lower()] = operation
    return {"openapi": "3.1.0", "info": {"title": "vllm-mock", "version": VLLM_VERSION}, "paths": paths}
