"""How a trainer brings new weights: vLLM's routes for reinforcement learning."""

from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.json_text import compact
from vllm_mock.routes.openai import headers
from vllm_mock.routes.replies import json_reply

if TYPE_CHECKING:
    from vllm_mock.protocol.weights import M
    from vllm_mock.services import Services

# Path, name of the operation in the metrics, answer.
_STEPS = (
    ("/start_weight_update", "start", "Weight update started"),
    ("/start_draft_weight_update", "start_draft", "Draft weight update started"),
    ("/shutdown_weight_transfer_engine", "shutdown", "Weight transfer shut down"),
)


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint."""
    weights = services.weights
    measured = services.metrics.weight_operations.measured

    def init() -> Response:
        from vllm_mock.protocol.weights import InitRequest

        _parsed(InitRequest)
        with measured("init"):
            return _message("Weight transfer initialized")

    def update() -> Response:
        from vllm_mock.protocol.weights import UpdateRequest

        _parsed(UpdateRequest)
        with measured("update"):
            return _message("Weights updated")

    def finish() -> Response:
        from vllm_mock.protocol.weights import FinishRequest

        version = _parsed(FinishRequest).weight_version
        with measured("finish"):
            if version is not None:
                weights.version = version
            return _message("Weight update finished")

    def update_version() -> Response:
        from vllm_mock.protocol.weights import VersionRequest

        weights.version = version = _parsed(VersionRequest).new_version
        return json_reply(compact({"success": True, "new_version": version}))

    def info() -> Response:
        return json_reply(compact({"weight_version": weights.version}))

    def check() -> Response:
        from vllm_mock.protocol.weights import CheckRequest

        asked = _parsed(CheckRequest)
        if asked.action == "reset":
            return json_reply('{"status":"reset"}')
        checksums = weights.checksums()
        if asked.action == "checksum":
            return json_reply(compact({"checksums": checksums}))
        if asked.baseline is None:
            raise ApiError(400, "action='compare' requires a 'baseline' object")
        names = sorted(checksums.keys() | asked.baseline.keys())
        mismatches = [name for name in names if checksums.get(name) != asked.baseline.get(name)]
        return json_reply(compact({"match": not mismatches, "mismatches": mismatches}))

    for path, operation, message in _STEPS:

        def step(operation: str = operation, message: str = message) -> Response:
            with measured(operation):
                return _message(message)

        blueprint.add_url_rule(path, path.strip("/"), step, methods=["POST"])
    for path, view, method in (
        ("/init_weight_transfer_engine", init, "POST"),
        ("/update_weights", update, "POST"),
        ("/finish_weight_update", finish, "POST"),
        ("/update_weight_version", update_version, "POST"),
        ("/weight_info", info, "GET"),
        ("/weight_checker", check, "POST"),
    ):
        blueprint.add_url_rule(path, path.strip("/"), view, methods=[method])


def _parsed(model: "type[M]") -> "M":
    from vllm_mock.protocol.weights import parse_embedded

    environ = request.environ
    return parse_embedded(headers.body(environ), environ.get("CONTENT_TYPE"), model)


def _message(text: str) -> Response:
    return json_reply(compact({"message": text}))
