"""Sleep, pause and cache routes of vLLM's development mode, always on here, as AIBrix expects."""

import json
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from vllm_mock.engine_control import NotPaused
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.json_text import compact
from vllm_mock.routes.openai import headers
from vllm_mock.routes.replies import empty_reply, json_reply

if TYPE_CHECKING:
    from vllm_mock.services import Services


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint."""
    control = services.control
    operations = services.metrics.sleep_operations

    def sleep() -> Response:
        from vllm_mock.protocol.control import SleepQuery, parse_query

        query = parse_query(request.args, SleepQuery)
        with operations.measured("sleep"):
            control.sleep(query.level, query.mode)
        return json_reply(compact({"status": "sleeping", "level": query.level}))

    def wake_up() -> Response:
        tags = request.args.getlist("tags") or None
        with operations.measured("wake"):
            awake = control.wake_up(tags)
        return json_reply(compact({"status": "awake" if awake else "sleeping", "tags": tags}))

    def is_sleeping() -> Response:
        return json_reply(compact({"is_sleeping": control.sleeping}))

    def pause() -> Response:
        from vllm_mock.protocol.control import PauseQuery, parse_query

        query = parse_query(request.args, PauseQuery)
        control.pause(query.mode, clear_cache=query.clear_cache)
        return json_reply('{"status":"paused"}')

    def resume() -> Response:
        control.resume()
        return json_reply('{"status":"resumed"}')

    def is_paused() -> Response:
        return json_reply(compact({"is_paused": control.paused}))

    def reset_prefix_cache() -> Response:
        from vllm_mock.protocol.control import ResetQuery, parse_query

        query = parse_query(request.args, ResetQuery)
        done = control.reset_prefix_cache(running_too=query.reset_running_requests)
        return json_reply(compact({"success": done}))

    def release_kv_cache_memory() -> Response:
        with operations.measured("release_kv_cache_memory"):
            try:
                control.release_kv_cache()
            except NotPaused as refusal:
                raise ApiError.bad_request(str(refusal)) from None
        return json_reply('{"status":"kv_cache_released"}')

    def abort_requests() -> Response:
        ids = _json_object("Invalid JSON format").get("request_ids")
        if not ids:
            return _aborted(control.abort(None))
        if not isinstance(ids, str | list | dict):
            reason = f"'{type(ids).__name__}' object is not iterable"
            return json_reply(compact({"error": f"Failed to abort requests: {reason}"}), 400)
        control.abort([ids] if isinstance(ids, str) else [name for name in ids if isinstance(name, str)])
        # vLLM counts what it was given, whether it knows it or not.
        return _aborted(len(ids))

    for path, view, method in (
        ("/sleep", sleep, "POST"),
        ("/wake_up", wake_up, "POST"),
        ("/is_sleeping", is_sleeping, "GET"),
        ("/pause", pause, "POST"),
        ("/resume", resume, "POST"),
        ("/is_paused", is_paused, "GET"),
        ("/reset_prefix_cache", reset_prefix_cache, "POST"),
        ("/reset_mm_cache", empty_reply, "POST"),
        ("/reset_encoder_cache", empty_reply, "POST"),
        ("/release_kv_cache_memory", release_kv_cache_memory, "POST"),
        ("/abort_requests", abort_requests, "POST"),
    ):
        blueprint.add_url_rule(path, path.strip("/"), view, methods=[method])


def _aborted(count: int) -> Response:
    return json_reply(compact({"status": "aborted", "aborted": count}))


def _json_object(invalid: str) -> dict[str, Any]:
    """The body of a route that reads it by itself, whatever its media type. Raises ApiError."""
    try:
        document = json.loads(headers.body(request.environ))
    except UnicodeDecodeError as no_text:
        raise ApiError.bad_request(str(no_text)) from None
    except (ValueError, RecursionError):
        raise ApiError(400, invalid) from None
    if not isinstance(document, dict):
        raise ApiError(400, "Request body must be a JSON object")
    return document
