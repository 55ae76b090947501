"""POST /inference/v1/generate and /inference/v1/abort_requests: prompts come, and answers go, as token ids."""

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Response, request

from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.json_text import to_bytes
from vllm_mock.protocol.logprobs import chat_logprobs, prompt_logprobs
from vllm_mock.protocol.response import Choice, chat_message
from vllm_mock.protocol.scale_out.body import Envelope, Generated, token_logprobs
from vllm_mock.protocol.sse import DONE, json_ids
from vllm_mock.protocol.usage import Usage
from vllm_mock.routes.openai import headers
from vllm_mock.routes.openai.answer import AnswerOptions, answer_options, final_usage, stream_options
from vllm_mock.routes.openai.prepare import frame, prepare_token_ids, resolve_model
from vllm_mock.routes.openai.refusal import StreamedRefusal
from vllm_mock.routes.openai.request_metrics import whole_answer_metrics
from vllm_mock.routes.openai.runs import Run, collect, start, stream
from vllm_mock.routes.replies import empty_reply, json_reply, stream_reply

if TYPE_CHECKING:
    from vllm_mock.services import Services


def views(services: "Services") -> dict[str, Callable[[], Response]]:
    """The view of each path."""

    def generate() -> Response:
        from vllm_mock.protocol.scale_out.requests import GenerateRequest

        environ = request.environ
        body = headers.read(environ, GenerateRequest)
        try:
            return _generate(services, environ, body)
        except StreamedRefusal as refusal:
            return stream_reply(refusal.events(spaced=True))

    def abort_requests() -> Response:
        services.control.abort(_request_ids(headers.body(request.environ)))
        return empty_reply()

    return {"/inference/v1/generate": generate, "/inference/v1/abort_requests": abort_requests}


def _generate(services: "Services", environ: dict[str, Any], body: Any) -> Response:
    from vllm_mock.protocol.scale_out import asking
    from vllm_mock.protocol.stages import CheckedPrompt

    limits = services.limits
    asked = asking.completion_request(body, limits)
    model = resolve_model(services, body.model)
    asking.check_request(body, limits)
    room = limits.max_model_len - len(body.token_ids)
    max_tokens = room if asked.max_tokens is None else min(asked.max_tokens, room)
    prompt = CheckedPrompt(body.token_ids, None, max_tokens)
    spec = prepare_token_ids(services, environ, asked, prompt, model)
    chat = asking.chat_request(body)
    parsing = None if chat is None else frame(services, chat, prompt, spec)
    scheduling = headers.scheduling(environ, "generate-tokens", asked)
    runs = start(services, [prompt], [spec], scheduling, parsing if body.output_mode == "derender" else None)
    options = answer_options(services, asked)
    envelope = Envelope(scheduling.response_id, body.output_mode, model, int(time.time()))
    if options.return_token_ids:
        envelope.prompt_token_ids = json_ids(prompt.token_ids)
    connection = headers.connection(environ)
    if body.stream:
        usage_wanted = stream_options(services, body.stream_options)
        renderer = GenerateStream(runs, envelope, options, usage_wanted, asked.logprobs)
        return stream_reply(stream(services, runs, renderer.render, renderer.end, connection))
    collect(services, runs, connection)
    if asked.prompt_logprobs is not None:
        entries = services.generator.prompt_logprobs(prompt.token_ids, asked.prompt_logprobs)
        envelope.prompt_logprobs = prompt_logprobs(entries)
    envelope.metrics = whole_answer_metrics(runs, services.settings.enable_per_request_metrics)
    envelope.kv_transfer_params = options.kv_transfer_params(runs[0])
    choices = [_whole_choice(run, index, body.output_mode, asked.logprobs) for index, run in enumerate(runs)]
    return json_reply(envelope.answer(final_usage(runs, options, chat=False), choices))


def _whole_choice(run: Run, index: int, mode: str, top: int | None) -> Generated:
    plan, output = run.plan, run.output
    logprobs = _logprobs(run, 0, len(plan.token_ids), mode, top)
    finish_reason = plan.finish_reason if output is None else output.finish_reason
    choice = Generated(index, plan.token_ids, finish_reason, plan.stop_reason, logprobs)
    if mode == "text":
        choice.text = plan.text
    elif mode == "derender":
        shown = Choice(plan.text, finish_reason)
        if output is not None:
            shown = Choice(output.content, finish_reason, reasoning=output.reasoning, tool_calls=output.tool_calls)
        choice.message = chat_message("assistant", shown)
    return choice


def _logprobs(run: Run, start: int, end: int, mode: str, top: int | None) -> str:
    if run.plan.logprobs is None or top is None:
        return "null"
    entries = run.plan.logprobs[start:end]
    return token_logprobs(entries) if mode == "tokens" else chat_logprobs(entries, top, False)


class GenerateStream:
    """The chunks of one stream; positions of each choice must come in order."""

    def __init__(
        self,
        runs: list[Run],
        envelope: Envelope,
        options: AnswerOptions,
        usage_wanted: tuple[bool, bool],
        top_logprobs: int | None,
    ) -> None:
        self._runs = runs
        self._envelope = envelope
        self._options = options
        self._usage_at_end, self._running_usage = usage_wanted
        self._top_logprobs = top_logprobs
        self._first = options.return_token_ids

    def render(self, choice: int, start: int, end: int) -> bytes:
        """The chunks of the tokens start..end-1 of a choice."""
        last = len(self._runs[choice].plan.token_ids) - 1
        chunks = [
            self._chunk(choice, first, position, finished=position == last)
            for first, position in self._options.flushes(start, end, last)
        ]
        return to_bytes("".join(chunks))

    def _chunk(self, choice: int, first: int, last: int, *, finished: bool) -> str:
        run, mode = self._runs[choice], self._envelope.output_mode
        plan = run.plan
        logprobs = _logprobs(run, first, last + 1, mode, self._top_logprobs)
        part = Generated(choice, plan.ids(first, last), logprobs=logprobs)
        if finished:
            part.finish_reason, part.stop_reason = plan.finish_reason, plan.stop_reason
        if mode == "text":
            part.text = "".join(plan.deltas[first : last + 1])
        with_prompt, self._first = self._first, False
        usage = Usage(len(run.prompt.token_ids), plan.count(last)).body() if self._running_usage else "null"
        return self._envelope.chunk(usage, part, with_prompt=with_prompt)

    def end(self) -> bytes:
        """The usage chunk, if asked for, and the end of the stream."""
        if not self._usage_at_end:
            return DONE
        usage = final_usage(self._runs, self._options, chat=True).final_chunk()
        return to_bytes(self._envelope.chunk(usage, None)) + DONE


def _request_ids(raw: bytes) -> list[str]:
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as e:
        raise ApiError(400, f"JSON decode error: {e}") from None
    if not isinstance(data, dict):
        raise ApiError.bad_request("Input should be a valid dictionary")
    if data.get("request_ids") is None:
        raise ApiError(400, "Missing 'request_ids' in request body")
    ids = data["request_ids"]
    return [name for name in ids if isinstance(name, str)] if isinstance(ids, list) else [str(ids)]
