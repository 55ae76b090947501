"""Routes about the workers behind the server: RPC, world size, elastic expert parallelism, profiles, configuration."""

import json
import math
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from vllm_mock.protocol.body import decode_json
from vllm_mock.protocol.errors import ApiError, plain_validation_error
from vllm_mock.protocol.json_text import compact
from vllm_mock.routes.openai import headers
from vllm_mock.routes.replies import empty_reply, json_reply
from vllm_mock.version import VLLM_VERSION

if TYPE_CHECKING:
    from vllm_mock.services import Services
    from vllm_mock.settings import Settings

DRAIN_SECONDS = 120
_POLL_SECONDS = 0.02


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint."""
    settings, elastic = services.settings, services.elastic_ep
    gpus = settings.tensor_parallel_size * settings.pipeline_parallel_size

    def collective_rpc() -> Response:
        call = _json_object()
        if call.get("method") is None:
            raise ApiError(400, "Missing 'method' in request body")
        arguments = call.get("args", ())
        if not isinstance(arguments, str | list | dict | tuple):
            raise ApiError.bad_request(f"'{type(arguments).__name__}' object is not iterable")
        # There is nothing to call: each GPU of the engine says that it was asked.
        return json_reply(compact({"results": ["ok"] * gpus}))

    def get_world_size() -> Response:
        from vllm_mock.protocol.control import WorldSizeQuery, parse_query

        ranks = settings.data_parallel_size if parse_query(request.args, WorldSizeQuery).include_dp else 1
        return json_reply(compact({"world_size": gpus * ranks}))

    def server_info() -> Response:
        from vllm_mock.protocol.control import ServerInfoQuery, parse_query

        as_text = parse_query(request.args, ServerInfoQuery).config_format == "text"
        return json_reply(compact(_server_info(settings, as_text)))

    def start_profile() -> Response:
        from vllm_mock.protocol.control import StartProfileRequest
        from vllm_mock.protocol.parsing import validate

        document = decode_json(headers.body(request.environ), request.environ.get("CONTENT_TYPE"))
        if document is not None:
            validate(document, StartProfileRequest)
        return empty_reply()

    def scale_elastic_ep() -> Response:
        size, drain = _scaling()
        elastic.begin()
        try:
            deadline = time.monotonic() + drain
            while not services.control.idle:
                if time.monotonic() > deadline:
                    reason = f"request drain timeout after {drain} seconds"
                    raise ApiError(408, f"Scale failed due to {reason}")
                time.sleep(_POLL_SECONDS)
        finally:
            elastic.end()
        return json_reply(compact({"message": f"Scaled to {size} data parallel engines"}))

    def is_scaling_elastic_ep() -> Response:
        return json_reply(compact(elastic.status()))

    def debug_elastic_ep() -> Response:
        if request.method == "GET":
            return json_reply(compact({"is_scaling_elastic_ep": elastic.scaling}))
        document = _json_object()
        scaling, seconds = document.get("scaling"), document.get("duration_seconds", math.inf)
        if not isinstance(scaling, bool):
            raise ApiError(400, "scaling must be true or false")
        if not _is_positive(seconds) or ("duration_seconds" in document and not seconds < 1e9):
            raise ApiError(400, "duration_seconds must be a positive number")
        if scaling:
            elastic.begin(seconds)
        else:
            elastic.end()
        return json_reply(compact({"status": "success", "is_scaling_elastic_ep": elastic.scaling}))

    for path, view, methods in (
        ("/collective_rpc", collective_rpc, ["POST"]),
        ("/get_world_size", get_world_size, ["GET"]),
        ("/server_info", server_info, ["GET"]),
        ("/scale_elastic_ep", scale_elastic_ep, ["POST"]),
        ("/is_scaling_elastic_ep", is_scaling_elastic_ep, ["POST"]),
        ("/debug/elastic_ep", debug_elastic_ep, ["GET", "POST"]),
    ):
        blueprint.add_url_rule(path, path.strip("/").replace("/", "_"), view, methods=methods)
    if (settings.profiler_config or {}).get("profiler"):
        blueprint.add_url_rule("/start_profile", "start_profile", start_profile, methods=["POST"])
        blueprint.add_url_rule("/stop_profile", "stop_profile", empty_reply, methods=["POST"])
    if settings.enable_tokenizer_info_endpoint:
        info = compact(_tokenizer_info(services))
        blueprint.add_url_rule("/tokenizer_info", "tokenizer_info", lambda: json_reply(info), methods=["GET"])


def _json_object() -> dict[str, Any]:
    """The body, as vLLM's route reads it. Raises ApiError."""
    try:
        document = json.loads(headers.body(request.environ))
    except json.JSONDecodeError as error:
        raise ApiError(400, f"JSON decode error: {error}") from None
    except UnicodeDecodeError as no_text:
        raise ApiError.bad_request(str(no_text)) from None
    except (ValueError, RecursionError):
        raise ApiError(400, "Invalid JSON format") from None
    if not isinstance(document, dict):
        raise ApiError(400, "Request body must be a JSON object")
    return document


def _scaling() -> tuple[int, int]:
    """(ranks, seconds that requests may still take) of POST /scale_elastic_ep. Raises ApiError."""
    environ = request.environ
    content_type = environ.get("CONTENT_TYPE")
    if (content_type or "").split(";", 1)[0].lower() != "application/json":
        raise plain_validation_error("Unsupported Media Type: Only 'application/json' is allowed")
    try:
        document = json.loads(headers.body(environ))
    except UnicodeDecodeError as no_text:
        raise ApiError.bad_request(str(no_text)) from None
    except (ValueError, RecursionError):
        raise ApiError(400, "Invalid JSON format") from None
    size = document.get("new_data_parallel_size") if isinstance(document, dict) else None
    if size is None:
        raise ApiError(400, "new_data_parallel_size is required")
    if not isinstance(size, int) or size <= 0:
        raise ApiError(400, "new_data_parallel_size must be a positive integer")
    drain = document.get("drain_timeout", DRAIN_SECONDS)
    if not isinstance(drain, int) or drain <= 0:
        raise ApiError(400, "drain_timeout must be a positive integer")
    return size, min(drain, 10**9)


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _server_info(settings: "Settings", as_text: bool) -> dict[str, Any]:
    shown = {name: value for name, value in vars(settings).items() if name not in ("api_key", "hf_token")}
    config = {
        name: value if isinstance(value, int | float | str | None) else str(value) for name, value in shown.items()
    }
    return {
        "vllm_config": ", ".join(f"{name}={value!r}" for name, value in config.items()) if as_text else config,
        "vllm_env": {name: os.environ[name] for name in sorted(os.environ) if _is_shown(name)},
        "system_env": {
            "vllm_version": VLLM_VERSION,
            "python_version": platform.python_version(),
            "python_platform": platform.platform(),
        },
    }


def _is_shown(variable: str) -> bool:
    return variable.startswith("VLLM_") and not variable.endswith(("KEY", "ARGS", "TOKEN"))


def _tokenizer_info(services: "Services") -> dict[str, Any]:
    tokenizer, settings = services.tokenizer, services.settings
    folder = Path(settings.tokenizer or "")
    config: dict[str, Any] = {}
    if settings.tokenizer and (folder / "tokenizer_config.json").is_file():
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    local = {"is_local": True, "local_files_only": True} if settings.tokenizer and folder.is_dir() else {}
    return {
        # vLLM's name for what it wraps around any tokenizer.json.
        "tokenizer_class": "TokenizerPoolCachedTokenizersBackend",
        **tokenizer.special_tokens,
        "model_max_length": config.get("model_max_length", settings.max_model_len),
        "clean_up_tokenization_spaces": config.get("clean_up_tokenization_spaces", False),
        "chat_template": tokenizer.chat_templates.get("default"),
        "truncation_side": "left",
        "name_or_path": settings.tokenizer or settings.model,
        **local,
        "added_tokens_decoder": {str(number): text for number, text in tokenizer.added_tokens.items()},
        "backend": "tokenizers",
    }
