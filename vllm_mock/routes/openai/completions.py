"""POST /v1/completions."""

import time
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from vllm_mock.protocol.json_text import compact
from vllm_mock.protocol.logprobs import prompt_logprobs
from vllm_mock.protocol.response import Choice, Envelope, text_completion
from vllm_mock.protocol.sse import StreamOptions, json_ids
from vllm_mock.routes.openai import headers
from vllm_mock.routes.openai.answer import AnswerOptions, answer_options, final_usage, stream_options
from vllm_mock.routes.openai.completion_choice import CompletionEcho
from vllm_mock.routes.openai.completion_stream import CompletionStream
from vllm_mock.routes.openai.prepare import PreparedCompletion, prepare_completion
from vllm_mock.routes.openai.refusal import StreamedRefusal, render_spaced_error
from vllm_mock.routes.openai.request_metrics import whole_answer_metrics
from vllm_mock.routes.openai.runs import Run, collect, start, stream
from vllm_mock.routes.openai.tensorrt import sealed, tell_context
from vllm_mock.routes.replies import json_reply, stream_reply

if TYPE_CHECKING:
    from vllm_mock.services import Services


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the route to the blueprint."""

    def completions() -> Response:
        environ = request.environ
        try:
            completion = prepare_completion(services, environ)
        except StreamedRefusal as refusal:
            return stream_reply(refusal.events(spaced=True))
        body = completion.body
        if services.pd_contract is not None:
            services.pd_contract.check(body)
        scheduling = headers.scheduling(environ, "cmpl", body)
        runs = start(services, completion.prompts, completion.specs, scheduling)
        options = answer_options(services, body)
        echoes = [_echo(services, completion, run, options) for run in runs]
        if body.stream:
            return _streamed(services, completion, runs, echoes, scheduling.response_id, options)
        return _whole(services, completion, runs, echoes, scheduling.response_id, options)

    blueprint.add_url_rule("/v1/completions", "completions", completions, methods=["POST"])


def _echo(services: "Services", completion: PreparedCompletion, run: Run, options: AnswerOptions) -> CompletionEcho:
    body = completion.body
    if not body.echo:
        return CompletionEcho("", active=False, only_prompt=False, as_ids=options.tokens_as_ids)
    ids = run.prompt.token_ids
    text = run.prompt.text
    if text is None:
        text = services.tokenizer.decode(ids, skip_special_tokens=False)
    first_token = None
    entries: list = []
    if body.logprobs is not None:
        entries = services.generator.prompt_logprobs(ids, body.logprobs)
        first_token = (ids[0], services.tokenizer.decode([ids[0]], skip_special_tokens=False))
    return CompletionEcho(
        text,
        active=True,
        only_prompt=body.max_tokens == 0,
        as_ids=options.tokens_as_ids,
        first_token=first_token,
        prompt_entries=entries,
    )


def _streamed(
    services: "Services",
    completion: PreparedCompletion,
    runs: list[Run],
    echoes: list[CompletionEcho],
    response_id: str,
    options: AnswerOptions,
) -> Response:
    include_usage, continuous = stream_options(services, completion.body.stream_options)
    shape = StreamOptions(
        response_id, int(time.time()), completion.model, services.fingerprint, include_usage, continuous
    )
    renderer = CompletionStream(runs, echoes, options, shape)
    connection = headers.connection(request.environ)
    return stream_reply(
        stream(
            services,
            runs,
            renderer.render,
            renderer.end,
            connection,
            keep_alive=True,
            plain=renderer.plain,
            render_error=render_spaced_error,
        )
    )


def _whole(
    services: "Services",
    completion: PreparedCompletion,
    runs: list[Run],
    echoes: list[CompletionEcho],
    response_id: str,
    options: AnswerOptions,
) -> Response:
    created = int(time.time())
    collect(services, runs, headers.connection(request.environ))
    choices = [_choice(services, completion, run, echo, options) for run, echo in zip(runs, echoes, strict=True)]
    envelope = Envelope(
        response_id, created, completion.model, services.fingerprint, final_usage(runs, options, chat=False)
    )
    envelope.kv_transfer_params = options.kv_transfer_params(runs[0])
    if options.context is not None:
        tell_context(options.context, runs, envelope, choices, services.pd_contract, chat=False)
    envelope.further += sealed(services.pd_contract)
    envelope.metrics = whole_answer_metrics(runs, services.settings.enable_per_request_metrics)
    response = json_reply(text_completion(envelope, choices))
    report = headers.load_report(request.environ, services)
    if report is not None:
        response.headers["endpoint-load-metrics"] = report
    return response


def _choice(
    services: "Services",
    completion: PreparedCompletion,
    run: Run,
    echo: CompletionEcho,
    options: AnswerOptions,
) -> Choice:
    plan = run.plan
    text, ids, entries = plan.text, plan.token_ids, plan.logprobs
    if echo.only_prompt:
        text, ids, entries = "", [], None if entries is None else []
    choice = Choice(echo.text + text, plan.finish_reason, plan.stop_reason)
    choice.logprobs = echo.logprobs(entries, echo.active)
    if options.return_token_ids:
        choice.token_ids = compact([*run.prompt.token_ids, *ids] if echo.active else ids)
        choice.prompt_token_ids = json_ids(run.prompt.token_ids)
    if completion.body.prompt_logprobs is not None:
        found = services.generator.prompt_logprobs(run.prompt.token_ids, completion.body.prompt_logprobs)
        choice.prompt_logprobs = prompt_logprobs(found)
    return choice
