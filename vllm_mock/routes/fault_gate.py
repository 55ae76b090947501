"""Where faults on purpose meet requests: some are answered with an error, others get a body that goes wrong."""

import json
import math
import re
import threading
import time
from typing import TYPE_CHECKING, Any

from flask import Response

from vllm_mock.engine import Failure
from vllm_mock.faults import Injected, Rule
from vllm_mock.faults.injected import HEADER, PATHS, error_type, returned
from vllm_mock.protocol.anthropic import errors as anthropic
from vllm_mock.protocol.errors import ApiError, phrase
from vllm_mock.protocol.json_text import compact, to_bytes
from vllm_mock.routes.faulty_body import FaultyBody, broken_off, half, told_error
from vllm_mock.routes.openai import headers
from vllm_mock.routes.replies import DELAY, FAILURE, JSON, Reply, error_reply, json_reply

if TYPE_CHECKING:
    from vllm_mock.services import Services

# The key of the environ by which one hook tells the other what is to happen to the answer.
FAULT = "vllm_mock.fault"
# By this nothing is to be seen of the request: no answer was sent, hence none is counted.
UNANSWERED = "vllm_mock.unanswered"
# The rules' own route, which must work whatever they say.
OWN_PREFIX = "/mock/"
ANTHROPIC_PREFIX = "/v1/messages"
_LOOK_SECONDS = 0.1
_FORM_MODEL = re.compile(rb'name="?model"?\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]*)\r\n')


class FaultGate:
    """Asked before and after the view of a request, if there is anything to ask."""

    def __init__(self, services: "Services") -> None:
        self._services = services
        self._faults = services.faults
        self._injected = Injected(services.settings)
        self.always = self._injected.rate > 0

    def admit(self, served: Any) -> Response | None:
        """The answer to a request that does not reach its view."""
        environ = served.environ
        path = environ["PATH_INFO"]
        if path.startswith(OWN_PREFIX):
            return None
        if path in PATHS:
            header = environ.get(HEADER)
            error = self._injected.drawn() if header is None else returned(header)
            if error is not None:
                return _error_reply(path, error)
        if not self._faults.active:
            return None
        rule_of_route = served.url_rule
        is_for_model = (
            rule_of_route is not None
            and rule_of_route.endpoint.startswith("openai.")
            and environ["REQUEST_METHOD"] == "POST"
        )
        if is_for_model and self._faults.engine_dead:
            return _error_reply(path, ApiError.engine_dead())
        rule = self._faults.hit(environ, is_for_model=is_for_model, peek=lambda: _peek(environ))
        if is_for_model and self._faults.engine_dead:
            return _error_reply(path, ApiError.engine_dead())
        return None if rule is None else self._act(rule, environ, path)

    def decorate(self, environ: dict[str, Any], response: Response) -> Response:
        """The answer of a view, as the rule that hit its request has it."""
        rule = environ.get(FAULT)
        if rule is None or response.status_code >= 400:
            return response
        if not response.is_sequence:
            connection, failure = headers.connection(environ), environ.get(FAILURE)
            body = FaultyBody(self._services, rule.action, response.response, connection, failure)
            response.response = body
            response._body = body  # type: ignore[attr-defined]
            return response
        return self._faulty_whole(rule, environ, response)

    def _act(self, rule: Rule, environ: dict[str, Any], path: str) -> Response | None:
        action = rule.action
        kind = rule.kind
        if kind == "error":
            if "delay" in action and not self._waits(environ, action["delay"]):
                return self._unanswered(environ)
            return _injected_reply(path, action)
        if kind == "slow_first_token":
            environ[DELAY] = float(action["seconds"])
        elif kind == "disconnect" and "after_tokens" not in action:
            return self._unanswered(environ, action.get("how", "rst"))
        elif kind == "stall" and "after_tokens" not in action:
            if not self._waits(environ, action.get("seconds", math.inf)):
                return self._unanswered(environ)
        else:
            environ[FAULT] = rule
            if kind == "stream_error":
                # An answer in one piece fails whatever its length.
                streams = bool(_peek(environ).get("stream"))
                environ[FAILURE] = Failure(action.get("after_tokens", 0) if streams else -1)
        return None

    def _faulty_whole(self, rule: Rule, environ: dict[str, Any], response: Response) -> Response:
        """A fault of an answer that comes in one piece: whatever is cut is cut in the middle."""
        kind, action = rule.kind, rule.action
        data = response.get_data()
        if kind == "stream_error":
            return _error_reply(environ["PATH_INFO"], told_error(action))
        if kind == "stall":
            if not self._waits(environ, action.get("seconds", math.inf)):
                return self._unanswered(environ)
            return response
        if kind == "malformed":
            return Reply(half(data), response.status_code, response.content_type)
        how = action.get("how", "rst") if kind == "disconnect" else "fin"
        body = broken_off(half(data), headers.connection(environ), how)
        reply = Reply(body, response.status_code, response.content_type)
        reply.headers.add("Content-Length", str(len(data)))
        return reply

    def _unanswered(self, environ: dict[str, Any], how: str = "fin") -> Response:
        """The connection ends without a byte."""
        environ[UNANSWERED] = True
        return Reply(broken_off(b"", headers.connection(environ), how), 500, JSON)

    def _waits(self, environ: dict[str, Any], seconds: float) -> bool:
        """Block for so long; False if the client left meanwhile, or the server ends."""
        gone = threading.Event()
        watcher = self._services.watcher
        key = watcher.add(headers.connection(environ), gone.set)
        until = time.monotonic() + seconds
        try:
            while (left := until - time.monotonic()) > 0:
                if gone.wait(min(left, _LOOK_SECONDS)) or self._services.lifecycle.aborting:
                    return False
        finally:
            watcher.remove(key)
        return True


def _error_reply(path: str, error: ApiError) -> Response:
    if path.startswith(ANTHROPIC_PREFIX):
        return json_reply(anthropic.body(error), error.status)
    return error_reply(error)


def _injected_reply(path: str, action: dict[str, Any]) -> Response:
    status = action.get("status", 503)
    if "body" in action:
        body = action["body"]
        reply = json_reply(to_bytes(body if isinstance(body, str) else compact(body)), status)
    else:
        message = action.get("message", f"Injected error: {phrase(status)}.")
        kind = action.get("error_type", error_type(status))
        reply = _error_reply(path, ApiError(status, message, kind, action.get("param"), code=action.get("code")))
    for name, value in _advice(action):
        reply.headers.add(name, value)
    for name, value in action.get("headers", {}).items():
        if name.lower() == "content-type":
            reply.headers.remove(name)
        reply.headers.add(name, value)
    return reply


def _advice(action: dict[str, Any]) -> list[tuple[str, str]]:
    """What tells a client when to try again."""
    told = []
    if (wait := action.get("retry_after")) is not None:
        told.append(("Retry-After", str(math.ceil(wait))))
        if wait != math.ceil(wait):
            told.append(("Retry-After-Ms", str(round(wait * 1000))))
    limits = action.get("rate_limit", {})
    for key in ("limit", "remaining", "reset"):
        if key in limits:
            unit = "s" if key == "reset" else ""
            told.append((f"X-RateLimit-{key.capitalize()}-Requests", f"{limits[key]}{unit}"))
    return told


def _peek(environ: dict[str, Any]) -> dict[str, Any]:
    """Model and stream of a body; empty if it is neither JSON nor a form."""
    data = headers.peek(environ)
    if environ.get("CONTENT_TYPE", "").startswith("multipart/"):
        found = _FORM_MODEL.search(data)
        return {} if found is None else {"model": found[1].decode("utf-8", "replace")}
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}
