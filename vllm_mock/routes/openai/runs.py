"""Sequences in flight: planned by the generator, timed by the engine, watched for a client that leaves."""

import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vllm_mock.engine import EnginePaused, EngineRequest, Failure, NeverFits, QueueFull, RequestHandle
from vllm_mock.generation import ChoicePlan, SamplingSpec
from vllm_mock.output import OutputParsing, ParsedOutput, parse_output
from vllm_mock.protocol.errors import ApiError
from vllm_mock.routes.openai.refusal import render_error
from vllm_mock.routes.openai.stopped import cut_short, last_chunks
from vllm_mock.routes.pacing import NEVER, PacedBody, Render, RenderError, Step, paced, paced_together, wait_for_all
from vllm_mock.routes.plain_tokens import PlainChunks

if TYPE_CHECKING:
    from vllm_mock.protocol.stages import CheckedPrompt
    from vllm_mock.services import Services


@dataclass(slots=True)
class Run:
    """One choice in flight; `output` is what parsers make of its text, None when there is none."""

    prompt: "CheckedPrompt"
    plan: ChoicePlan
    handle: RequestHandle
    output: ParsedOutput | None = None
    parsing: OutputParsing | None = None


@dataclass(slots=True)
class Scheduling:
    """What the engine is told beside the tokens; `arrival` is when the request came, in monotonic seconds.

    `loads_kv`: the prompt's KV cache comes from a peer; `hands_over_kv`: a peer is to be told where the KV cache is.
    KV events name the `session_id`, and with `reports_hits` they tell of cached blocks as well. `delay`: seconds by
    which the first token is late. `failure`: how the engine is to end it.
    """

    response_id: str
    arrival: float
    priority: int
    cache_salt: str | None
    loads_kv: bool = False
    hands_over_kv: bool = False
    session_id: str | None = None
    reports_hits: bool = False
    delay: float = 0.0
    failure: Failure | None = None


def start(
    services: "Services",
    prompts: Sequence["CheckedPrompt"],
    specs: Sequence[SamplingSpec],
    scheduling: Scheduling,
    parsing: OutputParsing | None = None,
) -> list[Run]:
    """Plan every choice of every prompt and hand them to the engine, all or none.

    Raises ApiError: 503 when a queue limit refuses them, 400 when one could never fit the KV cache.
    """
    planned: list[tuple[CheckedPrompt, ChoicePlan]] = []
    requests: list[EngineRequest] = []
    adapter = services.models.adapter(specs[0].model)
    for prompt, spec in zip(prompts, specs, strict=True):
        for index, plan in enumerate(services.generator.plan(spec, prompt.token_ids)):
            planned.append((prompt, plan))
            requests.append(
                EngineRequest(
                    scheduling.response_id,
                    prompt.token_ids,
                    plan.token_ids,
                    spec.max_tokens,
                    priority=scheduling.priority,
                    cache_salt=scheduling.cache_salt,
                    lora_name=None if adapter is None else adapter.name,
                    lora_path="" if adapter is None else adapter.path,
                    lora_id=None if adapter is None else adapter.id,
                    loads_kv=scheduling.loads_kv,
                    hands_over_kv=scheduling.hands_over_kv,
                    session_id=scheduling.session_id,
                    reports_hits=scheduling.reports_hits,
                    arrival=scheduling.arrival,
                    delay=scheduling.delay,
                    failure=scheduling.failure,
                    finish_reason=plan.finish_reason,
                    n=spec.n,
                    index=index,
                )
            )
    handles = submit(services, requests)
    runs = [Run(prompt, plan, handle) for (prompt, plan), handle in zip(planned, handles, strict=True)]
    if parsing is not None:
        for run in runs:
            run.output = parse_output(run.plan, parsing)
            run.parsing = parsing
    return runs


def submit(services: "Services", requests: Sequence[EngineRequest]) -> list[RequestHandle]:
    """Hand requests to the engine, all or none. Raises ApiError as `start`."""
    try:
        return services.engine.submit_all(requests)
    except QueueFull as full:
        raise ApiError.queue_full(full.reason) from None
    except EnginePaused:
        raise ApiError.paused() from None
    except NeverFits as refusal:
        raise ApiError.bad_request(f"This request can never be scheduled: {refusal}.") from None


def collect(services: "Services", runs: Sequence[Run], connection: Any) -> None:
    """Block until all runs are done, or ended by the operator. Raises ApiError when a shutdown aborts them."""
    wait(services, [run.handle for run in runs], connection)
    for run in runs:
        if run.handle.cut is not None:
            cut_short(run)
    _count_tool_parsing(services, runs)


def wait(
    services: "Services",
    handles: Sequence[RequestHandle],
    connection: Any,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Do `meanwhile`, then block until all of these are done. Raises ApiError when they are aborted by a shutdown."""
    key = services.watcher.add(connection, lambda: _abort(handles))
    services.generating += 1
    complete = False
    try:
        meanwhile()
        complete = wait_for_all(handles, services.metrics.record_lag)
    finally:
        services.generating -= 1
        services.watcher.remove(key)
        _close(handles, complete)
    if not complete and any(handle.aborted and handle.cut is None for handle in handles):
        raise _engine_error(services, handles) or ApiError.shutting_down()


def stream(
    services: "Services",
    runs: Sequence[Run],
    render: Render,
    render_end: Callable[[], bytes],
    connection: Any,
    *,
    keep_alive: bool = False,
    plain: PlainChunks | None = None,
    render_error: RenderError = render_error,
) -> PacedBody:
    """The chunks of a stream as their tokens fall due.

    `render(choice, start, end)` gives the chunks of these token positions of a choice; `plain` as in `paced`.
    `keep_alive`: comments may be sent in between, as --sse-keep-alive-interval says; vLLM has them for chat and text
    completions alone.
    """
    idle = services.settings.sse_keep_alive_interval if keep_alive else 0
    steps = _steps(services, runs, render, render_end, connection, idle or NEVER, plain, render_error)
    return PacedBody(steps, render_error)


def _steps(
    services: "Services",
    runs: Sequence[Run],
    render: Render,
    render_end: Callable[[], bytes],
    connection: Any,
    idle: float,
    plain: PlainChunks | None,
    render_error: RenderError,
) -> Iterator[Step]:
    handles = [run.handle for run in runs]
    key = services.watcher.add(connection, lambda: _abort(handles))
    services.generating += 1
    complete = False
    try:
        # Sends the headers now: vLLM, too, answers 200 before the first token.
        yield b""
        record_lag = services.metrics.record_lag
        if len(handles) == 1:
            yield from paced(handles[0], render, record_lag, idle, plain)
        else:
            yield from paced_together(handles, render, record_lag, idle)
        # What follows takes the engine's lock.
        yield None
        complete = not any(handle.aborted and handle.cut is None for handle in handles)
        if not complete and (error := _engine_error(services, handles)) is not None:
            yield render_error(error)
            return
        if not complete:
            # The client must see a broken stream, not one that ended well.
            raise ConnectionResetError(errno.ECONNRESET, "the request was aborted")
        for choice, run in enumerate(runs):
            if run.handle.cut is not None:
                yield last_chunks(choice, run, render)
        _count_tool_parsing(services, runs)
        yield render_end()
    finally:
        services.generating -= 1
        services.watcher.remove(key)
        _close(handles, complete)


def _engine_error(services: "Services", handles: Sequence[RequestHandle]) -> ApiError | None:
    """Why the engine ended these, if it was a failure of its own."""
    if services.faults.engine_dead:
        return ApiError.engine_dead()
    return ApiError.internal() if any(handle.failed for handle in handles) else None


def _count_tool_parsing(services: "Services", runs: Sequence[Run]) -> None:
    """As vLLM counts: whole answers, and of streamed ones each token."""
    for run in runs:
        how, output = run.parsing, run.output
        if how is None or how.tools is None or output is None:
            continue
        called = output.calling
        not_called = (len(output.deltas) if how.streamed else 1) - called
        services.metrics.tool_calls_parsed(
            streaming=how.streamed, request_type=how.request_type, called=called, not_called=not_called
        )


def _abort(handles: Sequence[RequestHandle]) -> None:
    # The last first: aborting the first would let the next of these leave the queue, only to be aborted as well.
    for handle in reversed(handles):
        handle.abort()


def _close(handles: Sequence[RequestHandle], complete: bool) -> None:
    if not complete:
        _abort(handles)
        return
    for handle in handles:
        handle.finish()
