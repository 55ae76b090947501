"""/mock/faults: rules by which requests, or the whole server, go wrong."""

from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from vllm_mock.faults import FaultError
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.json_text import compact
from vllm_mock.routes.openai import headers
from vllm_mock.routes.replies import json_reply

if TYPE_CHECKING:
    from vllm_mock.services import Services


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint."""
    faults = services.faults

    def add_faults() -> Response:
        document = headers.json_body(request.environ)
        try:
            ids = faults.add(document)
        except FaultError as refusal:
            raise ApiError.bad_request(str(refusal)) from None
        return json_reply(compact({"status": "success", "ids": ids}))

    def show_faults() -> Response:
        return json_reply(compact({"rules": faults.listed()}))

    def clear_faults() -> Response:
        return json_reply(compact({"status": "success", "removed": faults.remove()}))

    def clear_fault(rule_id: int) -> Response:
        removed = faults.remove(rule_id)
        if not removed:
            raise ApiError.not_found(f"There is no fault rule {rule_id}.")
        return json_reply(compact({"status": "success", "removed": removed}))

    def recorded() -> Response:
        recorder = services.recorder
        records = [] if recorder is None else recorder.records(request.args.get("request_id"))
        return json_reply(compact(records))

    blueprint.add_url_rule("/debug/requests", "recorded_requests", recorded, methods=["GET"])
    blueprint.add_url_rule("/mock/faults", "add_faults", add_faults, methods=["POST"])
    blueprint.add_url_rule("/mock/faults", "show_faults", show_faults, methods=["GET"])
    blueprint.add_url_rule("/mock/faults", "clear_faults", clear_faults, methods=["DELETE"])
    blueprint.add_url_rule("/mock/faults/<int:rule_id>", "clear_fault", clear_fault, methods=["DELETE"])
