"""/v1/responses: create, stream, read again, cancel."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from vllm_mock.protocol.disaggregation import disaggregation
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.json_text import compact
from vllm_mock.routes.openai import headers
from vllm_mock.routes.openai.answer import cached_tokens
from vllm_mock.routes.openai.background import EventLogs, run_in_background
from vllm_mock.routes.openai.prepare import prepare_chat_body, resolve_model
from vllm_mock.routes.openai.refusal import StreamedRefusal
from vllm_mock.routes.openai.response_object import finished, new_id, output_items, response_object
from vllm_mock.routes.openai.response_store import ResponseStore, not_found, refusal
from vllm_mock.routes.openai.response_stream import ResponseStream
from vllm_mock.routes.openai.runs import Run, collect, start, stream
from vllm_mock.routes.pacing import PacedBody, Step
from vllm_mock.routes.replies import json_reply, stream_reply

if TYPE_CHECKING:
    from vllm_mock.protocol.responses import ResponsesRequest
    from vllm_mock.services import Services

_NO_STORE = (
    "This vLLM engine does not support `store=True` and therefore does not support the background mode. To enable "
    "these features, set the environment variable `VLLM_ENABLE_RESPONSES_API_STORE=1` when launching the vLLM server."
)
_UNFINISHED = ("queued", "in_progress")


@dataclass(slots=True)
class Created:
    """A response on its way; `messages` are those that a next response goes on from, without the answer."""

    body: "ResponsesRequest"
    response: dict[str, Any]
    run: Run
    messages: list[dict[str, Any]]


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint."""
    views = _Views(services)
    for path, view, method in (
        ("/v1/responses", views.create, "POST"),
        ("/v1/responses/<response_id>", views.retrieve, "GET"),
        ("/v1/responses/<response_id>/cancel", views.cancel, "POST"),
    ):
        blueprint.add_url_rule(path, f"responses_{view.__name__}", view, methods=[method])


class _Views:
    def __init__(self, services: "Services") -> None:
        self._services = services
        self._stores = services.settings.enable_responses_api_store
        self._store = ResponseStore(services.store)
        self._logs = EventLogs()

    def create(self) -> Response:
        from vllm_mock.protocol.responses import ResponsesRequest

        environ = request.environ
        body = headers.read(environ, ResponsesRequest)
        model = resolve_model(self._services, body.model)
        if not self._stores:
            if body.background:
                raise refusal(400, _NO_STORE, "background")
            body.store = False
        created = self._start(body, model)
        if body.background:
            return self._in_background(created)
        if body.stream:
            return stream_reply(self._streamed(created, headers.connection(environ)))
        collect(self._services, [created.run], headers.connection(environ))
        response = self._finish(created, output_items(created.run, body.top_logprobs or 0))
        return json_reply(compact(response))

    def retrieve(self, response_id: str) -> Response:
        from vllm_mock.protocol.control import parse_query
        from vllm_mock.protocol.responses import RetrieveQuery

        query = parse_query(request.args, RetrieveQuery)
        if not self._stores:
            raise not_found(response_id)
        response = self._store.find(response_id)["response"]
        if not query.stream:
            return json_reply(compact(response))
        log = self._logs.find(response_id)
        if log is None:
            raise refusal(400, "Only responses that were streamed in the background can be streamed again.", "stream")
        return stream_reply(log.read(-1 if query.starting_after is None else query.starting_after))

    def cancel(self, response_id: str) -> Response:
        if not self._stores:
            raise not_found(response_id)

        def cancelled(response: dict[str, Any]) -> dict[str, Any]:
            if response["status"] not in _UNFINISHED:
                raise refusal(400, "Cannot cancel a synchronous response.", "response_id")
            return response | {"status": "cancelled"}

        response = self._store.change(response_id, cancelled)
        self._services.control.abort([response_id])
        return json_reply(compact(response))

    def _start(self, body: "ResponsesRequest", model: str) -> Created:
        from vllm_mock.protocol.response_input import chat_request

        environ = request.environ
        history = self._history(body.previous_response_id)
        chat_body = chat_request(body, history, self._services.limits)
        try:
            chat = prepare_chat_body(self._services, environ, chat_body)
        except StreamedRefusal as refused:
            # The engine looks at a request before the stream begins here.
            raise refused.error from None
        _check_answerable(body)
        if chat.parsing is not None:
            chat.parsing.request_type = "responses"
        scheduling = headers.scheduling(environ, "resp", chat_body)
        scheduling.response_id = new_id("resp") if body.request_id is None else body.request_id
        (run,) = start(self._services, [chat.prompt], [chat.spec], scheduling, chat.parsing)
        response = response_object(body, scheduling.response_id, int(time.time()), model, chat.spec.max_tokens)
        # The next response has instructions of its own.
        said = [_storable(message) for message in chat_body.messages]
        return Created(body, response, run, said[bool(body.instructions) :])

    def _history(self, previous_id: str | None) -> list[dict[str, Any]]:
        if previous_id is None:
            return []
        if not self._stores:
            raise not_found(previous_id)
        if not previous_id:
            # vLLM's store takes an empty id for none.
            return []
        from vllm_mock.protocol.response_input import output_messages

        previous = self._store.find(previous_id)
        return [*previous["messages"], *output_messages(previous["response"]["output"])]

    def _streamed(self, created: Created, connection: Any) -> PacedBody:
        body = created.body
        events = ResponseStream(
            created.run, created.response, body.top_logprobs or 0, lambda items: self._finish(created, items)
        )
        rest = stream(self._services, [created.run], events.render, events.end, connection)
        return PacedBody(_with_opening(events.opening(), rest), rest.render_error)

    def _in_background(self, created: Created) -> Response:
        body, response = created.body, created.response
        if body.stream:
            self._store.put(response, created.messages)
            log = self._logs.record(response["id"], self._streamed(created, None))
            return stream_reply(log.read(-1))
        queued = response | {"status": "queued"}
        self._store.put(queued, created.messages)

        def work() -> None:
            try:
                collect(self._services, [created.run], None)
            except ApiError:
                self._store.change(response["id"], lambda held: held | {"status": "failed"})
            else:
                self._finish(created, output_items(created.run, body.top_logprobs or 0))

        run_in_background(work)
        return json_reply(compact(queued))

    def _finish(self, created: Created, items: list[dict[str, Any]]) -> dict[str, Any]:
        handle = created.run.handle
        transfer = self._services.kv_transfer.params(handle) if handle.request.hands_over_kv else None
        cached = cached_tokens(handle, disaggregation(created.body).cached_at_peer)
        response = finished(created.response, created.run, items, cached, transfer)
        if created.body.enable_response_messages:
            response |= _messages(created.run)
        if created.body.background:
            # A client may have cancelled it meanwhile.
            return self._store.change(response["id"], lambda held: held if held["status"] == "cancelled" else response)
        if created.body.store:
            self._store.put(response, created.messages)
        return response


def _storable(value: Any) -> Any:
    """A message in which pydantic's iterators, one for each list of parts, are lists."""
    if isinstance(value, dict):
        return {name: _storable(part) for name, part in value.items()}
    if isinstance(value, str | int | float | None):
        return value
    return [_storable(part) for part in value]


def _check_answerable(body: "ResponsesRequest") -> None:
    """Null is allowed in a request, but not in the response that repeats it."""
    if body.truncation is None:
        raise _unanswerable("truncation", "Input should be 'auto' or 'disabled'", "literal_error")
    if body.background is None:
        raise _unanswerable("background", "Input should be a valid boolean", "bool_type")


def _unanswerable(field: str, message: str, kind: str) -> ApiError:
    """vLLM takes such a request, and fails to put its null into the response."""
    return ApiError.bad_request(
        f"1 validation error for ResponsesResponse\n{field}\n  {message} "
        f"[type={kind}, input_value=None, input_type=NoneType]\n"
        f"    For further information visit https://errors.pydantic.dev/2.14/v/{kind}"
    )


def _messages(run: Run) -> dict[str, Any]:
    """The prompt and the answer as the model has them."""

    def raw(text: str | None, ids: Any) -> list[dict[str, Any]]:
        return [{"message": text or "", "tokens": list(ids), "type": "raw_message_tokens"}]

    return {
        "input_messages": raw(run.prompt.text, run.prompt.token_ids),
        "output_messages": raw(run.plan.text, run.plan.token_ids),
    }


def _with_opening(opening: bytes, rest: PacedBody) -> Iterator[Step]:
    """The steps of a stream whose first events wait for no token."""
    try:
        yield opening
        yield from rest.steps
    finally:
        rest.close()
