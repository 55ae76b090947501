"""POST /v1/chat/completions."""

import time
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response

from vllm_mock.protocol.json_text import compact, quote
from vllm_mock.protocol.logprobs import chat_logprobs, prompt_logprobs
from vllm_mock.protocol.response import Choice, Envelope, chat_completion
from vllm_mock.protocol.sse import ChatChunks, StreamOptions, json_ids
from vllm_mock.routes.current import current_request
from vllm_mock.routes.openai import headers, picture_chat, spoken_chat
from vllm_mock.routes.openai.answer import AnswerOptions, answer_options, final_usage, stream_options
from vllm_mock.routes.openai.chat_stream import ChatStream
from vllm_mock.routes.openai.parsed_stream import ParsedChatStream
from vllm_mock.routes.openai.prepare import PreparedChat, parse_chat, prepare_chat_body
from vllm_mock.routes.openai.refusal import StreamedRefusal
from vllm_mock.routes.openai.request_metrics import whole_answer_metrics
from vllm_mock.routes.openai.runs import Run, collect, start, stream
from vllm_mock.routes.openai.spoken_chat import Renderer, Speaker, SpokenStream
from vllm_mock.routes.openai.tensorrt import sealed, tell_context
from vllm_mock.routes.replies import json_reply, stream_reply

if TYPE_CHECKING:
    from vllm_mock.services import Services


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the route to the blueprint."""

    def chat_completions() -> Response:
        environ = current_request().environ
        body = parse_chat(environ)
        if services.pd_contract is not None:
            services.pd_contract.check(body)
        if picture_chat.is_wanted(services, body):
            return picture_chat.answer(services, environ, body)
        speaker = spoken_chat.speaker(body)
        try:
            chat = prepare_chat_body(services, environ, body)
        except StreamedRefusal as refusal:
            return stream_reply(refusal.events(spaced=False))
        scheduling = headers.scheduling(environ, "chatcmpl", body)
        runs = start(services, [chat.prompt], [chat.spec], scheduling, chat.parsing)
        options = answer_options(services, body)
        if body.stream:
            return _streamed(services, environ, chat, runs, scheduling.response_id, options, speaker)
        return _whole(services, environ, chat, runs, scheduling.response_id, options, speaker)

    blueprint.add_url_rule("/v1/chat/completions", "chat", chat_completions, methods=["POST"])


def _streamed(
    services: "Services",
    environ: dict[str, Any],
    chat: PreparedChat,
    runs: list[Run],
    response_id: str,
    options: AnswerOptions,
    speaker: Speaker | None,
) -> Response:
    include_usage, continuous = stream_options(services, chat.body.stream_options)
    shape = StreamOptions(response_id, int(time.time()), chat.model, services.fingerprint, include_usage, continuous)
    kind = ChatStream if runs[0].output is None else ParsedChatStream
    written = kind(runs, options, shape, chat.role, chat.echo)
    renderer: Renderer = written
    if speaker is not None:
        renderer = SpokenStream(written, runs, speaker, ChatChunks(shape).head)
    connection = headers.connection(environ)
    plain = written.plain if speaker is None else None
    return stream_reply(stream(services, runs, renderer.render, renderer.end, connection, keep_alive=True, plain=plain))


def _whole(
    services: "Services",
    environ: dict[str, Any],
    chat: PreparedChat,
    runs: list[Run],
    response_id: str,
    options: AnswerOptions,
    speaker: Speaker | None,
) -> Response:
    created = int(time.time())
    collect(services, runs, headers.connection(environ))
    choices = [chat_choice(run, chat, options) for run in runs]
    if speaker is not None:
        for choice in choices:
            choice.audio = speaker.message(choice.text) if choice.text else "null"
    prompt = chat.prompt
    envelope = Envelope(response_id, created, chat.model, services.fingerprint, final_usage(runs, options, chat=True))
    wanted = chat.body.prompt_logprobs
    if wanted is None and chat.body.echo and not chat.body.use_beam_search:
        wanted = chat.body.top_logprobs
    if wanted is not None:
        entries = services.generator.prompt_logprobs(prompt.token_ids, wanted)
        envelope.prompt_logprobs = prompt_logprobs(entries)
    if options.return_token_ids:
        envelope.prompt_token_ids = json_ids(prompt.token_ids)
    if options.return_prompt_text and prompt.text is not None:
        envelope.prompt_text = quote(prompt.text)
    envelope.kv_transfer_params = options.kv_transfer_params(runs[0])
    if options.context is not None:
        tell_context(options.context, runs, envelope, choices, services.pd_contract, chat=True)
    envelope.further += sealed(services.pd_contract)
    envelope.metrics = whole_answer_metrics(runs, services.settings.enable_per_request_metrics)
    response = json_reply(chat_completion(envelope, chat.role, choices))
    report = headers.load_report(environ, services)
    if report is not None:
        response.headers["endpoint-load-metrics"] = report
    return response


def chat_choice(run: Run, chat: PreparedChat, options: AnswerOptions) -> Choice:
    """A finished choice of a chat, as its answer shows it."""
    plan = run.plan
    output = run.output
    if output is None:
        choice = Choice(chat.echo + plan.text, plan.finish_reason, plan.stop_reason)
    else:
        text = chat.echo + (output.content or "") if chat.body.echo else output.content
        choice = Choice(text, output.finish_reason, plan.stop_reason)
        choice.reasoning, choice.tool_calls = output.reasoning, output.tool_calls
    if run.parsing is not None and run.parsing.hides_tokens:
        return choice
    if plan.logprobs is not None:
        choice.logprobs = chat_logprobs(plan.logprobs, options.top_logprobs, options.tokens_as_ids)
    if options.return_token_ids:
        choice.token_ids = compact(plan.token_ids)
    return choice
