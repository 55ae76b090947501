"""POST /v1/messages and /v1/messages/count_tokens: Anthropic's API over chat completions."""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from vllm_mock.protocol.anthropic import errors
from vllm_mock.protocol.anthropic import response as anthropic
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.json_text import compact
from vllm_mock.routes.openai import headers
from vllm_mock.routes.openai.answer import answer_options, final_usage
from vllm_mock.routes.openai.messages_stream import MessagesStream
from vllm_mock.routes.openai.prepare import prepare_chat_body, resolve_model
from vllm_mock.routes.openai.refusal import StreamedRefusal
from vllm_mock.routes.openai.runs import Run, collect, start, stream
from vllm_mock.routes.replies import json_reply, stream_reply

if TYPE_CHECKING:
    from vllm_mock.services import Services

View = Callable[[Any], Response]


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint."""

    def parsed(name: str, view: View) -> Callable[[], Response]:
        """A view of validated requests of the model `name`; what it refuses has Anthropic's shape."""

        @wraps(view)
        def answer() -> Response:
            from vllm_mock.protocol.anthropic import request as models
            from vllm_mock.protocol.parsing import parse_request

            environ = request.environ
            try:
                data = headers.body(environ)
            except ApiError as error:
                return json_reply(errors.body(error), error.status)
            # Faults of the fields keep OpenAI's shape.
            body = parse_request(data, environ.get("CONTENT_TYPE"), getattr(models, name))
            try:
                return view(body)
            except StreamedRefusal as refusal:
                return stream_reply(_refused(refusal))
            except ApiError as error:
                return json_reply(errors.body(error), error.status)

        return answer

    def messages(body: Any) -> Response:
        from vllm_mock.protocol.anthropic.chat_request import chat_request

        environ = request.environ
        chat = prepare_chat_body(services, environ, chat_request(body, services.limits))
        scheduling = headers.scheduling(environ, "chatcmpl", chat.body)
        runs = start(services, [chat.prompt], [chat.spec], scheduling, chat.parsing)
        options = answer_options(services, chat.body)
        connection = headers.connection(environ)
        if body.stream:
            renderer = MessagesStream(runs[0], options, scheduling.response_id, chat.model)
            return stream_reply(
                stream(services, runs, renderer.render, renderer.end, connection, render_error=renderer.error)
            )
        collect(services, runs, connection)
        content = _content(runs[0])
        usage = final_usage(runs, options, chat=True)
        transfer = options.kv_transfer_params(runs[0])
        body = anthropic.message(scheduling.response_id, chat.model, content, _ending(runs[0]), usage, transfer)
        return json_reply(body)

    def count_tokens(body: Any) -> Response:
        from vllm_mock.protocol import stages
        from vllm_mock.protocol.anthropic.chat_request import chat_request

        chat = chat_request(body, services.limits)
        resolve_model(services, chat.model)
        count = len(stages.chat_prompt(chat, services.tokenizer, services.limits).token_ids)
        answer = {"input_tokens": count, "context_management": {"original_input_tokens": count}}
        return json_reply(compact(answer))

    routes = (
        ("/v1/messages", parsed("AnthropicMessagesRequest", messages)),
        ("/v1/messages/count_tokens", parsed("AnthropicCountTokensRequest", count_tokens)),
    )
    for path, view in routes:
        blueprint.add_url_rule(path, view.__name__, view, methods=["POST"])


def _refused(refusal: StreamedRefusal) -> Iterator[bytes]:
    yield errors.event(refusal.error)


def _content(run: Run) -> list[dict[str, Any]]:
    """The content blocks of a whole answer: at least one."""
    output = run.output
    if output is None:
        return [anthropic.text_block(run.plan.text)]
    blocks = []
    if output.reasoning:
        blocks.append(anthropic.thinking_block(output.reasoning))
    if output.content:
        blocks.append(anthropic.text_block(output.content))
    blocks += [anthropic.tool_use_block(call) for call in output.tool_calls]
    return blocks or [anthropic.text_block("")]


def _ending(run: Run) -> anthropic.Ending:
    plan, output = run.plan, run.output
    if output is None:
        return anthropic.Ending(plan.finish_reason, plan.stop_reason, False)
    return anthropic.Ending(output.finish_reason, plan.stop_reason, bool(output.tool_calls))
