"""simulate: the requests of a trace through the scheduler and the steps of the simulator, as fast as it goes."""

from collections.abc import Callable, Sequence

from vllm_mock.engine.handle import RequestHandle
from vllm_mock.engine.observer import NullObserver
from vllm_mock.engine.request import EngineRequest, NeverFits
from vllm_mock.engine.scheduler import Scheduler
from vllm_mock.engine.simulated.gpu import NEVER, SimulatedGPU
from vllm_mock.engine.simulated.handle import SimulatedHandle
from vllm_mock.engine.step_time import StepTime
from vllm_mock.settings import Settings
from vllm_mock.simulate.results import RequestResult, Sample
from vllm_mock.simulate.trace import TraceRequest

Watch = Callable[[Sample], None]


def simulate(
    requests: Sequence[TraceRequest],
    settings: Settings,
    step_time: StepTime,
    *,
    concurrency: int | None = None,
    watch: Watch | None = None,
    finished: Callable[[RequestResult], None] | None = None,
) -> list[RequestResult]:
    """What becomes of these requests, in their order.

    settings: the limits of the engine (max_num_seqs, max_num_batched_tokens, num_gpu_blocks and so on).
    concurrency: of the requests that have arrived only so many are sent at once; each further one when one has ended
    (its arrival in the result is then when it was sent). watch is called with a Sample after each step that brought
    tokens, finished with each result that is complete. An exception of the StepTime is raised.
    """
    return _Run(requests, settings, step_time, concurrency, watch, finished).results()


class _Run(NullObserver):
    """One simulation; it observes its own engine."""

    def __init__(
        self,
        requests: Sequence[TraceRequest],
        settings: Settings,
        step_time: StepTime,
        concurrency: int | None,
        watch: Watch | None,
        on_finished: Callable[[RequestResult], None] | None,
    ) -> None:
        self._scheduler = Scheduler(settings)
        self._gpu = SimulatedGPU(settings, self._scheduler, step_time, self, _raise)
        self._results = [RequestResult(request, request.arrival) for request in requests]
        self._todo = sorted(range(len(requests)), key=lambda number: (requests[number].arrival, number), reverse=True)
        self._max_model_len = settings.max_model_len
        self._frontend = settings.frontend_latency
        self._free = concurrency or len(requests)
        self._watch = watch
        self._on_finished = on_finished
        self._now = 0.0
        self._prefixes: dict[str | int, int] = {}
        self._of_handle: dict[RequestHandle, RequestResult] = {}

    def results(self) -> list[RequestResult]:
        gpu = self._gpu
        while True:
            arrival = self._next_arrival()
            self._now = min(arrival, gpu.next_event)
            if self._now == NEVER:
                return self._results
            gpu.advance(self._now)
            if arrival <= self._now:
                while self._next_arrival() <= self._now:
                    self._send(self._todo.pop())
                self._scheduler.receive(self._now)
                gpu.launch(self._now)

    def _next_arrival(self) -> float:
        """When the next request is sent."""
        if not self._todo or not self._free:
            return NEVER
        return max(self._now, self._results[self._todo[-1]].request.arrival)

    def _send(self, number: int) -> None:
        result = self._results[number]
        result.arrival = self._now
        request = result.request
        total = request.prompt_tokens + request.output_tokens
        if total > self._max_model_len:
            self._refuse(result, f"the request has {total} tokens, but the model only {self._max_model_len}")
            return
        engine_request = self._engine_request(number, request)
        try:
            self._scheduler.check_fits(engine_request)
        except NeverFits as refusal:
            self._refuse(result, str(refusal))
            return
        handle = SimulatedHandle(_NO_OWNER, engine_request, self._scheduler.prompt_hashes(engine_request))
        handle.queued = self._now + self._frontend
        self._of_handle[handle] = result
        self._free -= 1
        self._scheduler.send(handle)

    def _engine_request(self, number: int, request: TraceRequest) -> EngineRequest:
        """Token ids that stand for a prompt: those of its prefix, and some that no other request has."""
        shared: Sequence[int] = ()
        if request.prefix_id is not None and request.prefix_tokens:
            start = self._prefixes.setdefault(request.prefix_id, -(len(self._prefixes) + 1) << 40)
            shared = range(start, start + request.prefix_tokens)
        start = number << 40
        own = range(start, start + request.prompt_tokens - len(shared))
        return EngineRequest(
            str(number),
            [*shared, *own],
            range(request.output_tokens),
            request.output_tokens,
            priority=request.priority,
            lora_name=request.lora,
            arrival=self._now,
        )

    # ---- What the engine tells

    def finished(self, handle: RequestHandle) -> None:
        assert isinstance(handle, SimulatedHandle)
        result = self._of_handle.pop(handle)
        result.queued = handle.queued
        result.scheduled = handle.scheduled
        result.token_times = handle.dues
        result.cached_tokens = handle.num_cached_tokens
        result.preemptions = handle.num_preemptions
        self._free += 1
        self._report(result)

    def stepped(self, at: float, decoders: int, gap: float, completed: Sequence[RequestHandle]) -> None:
        if self._watch is not None:
            kv = self._scheduler.kv
            running, waiting = len(self._scheduler.running), len(self._scheduler.waiting)
            self._watch(Sample(at, running, waiting, kv.used_blocks / kv.num_blocks, decoders + len(completed)))

    def _refuse(self, result: RequestResult, reason: str) -> None:
        result.refused = reason
        self._report(result)

    def _report(self, result: RequestResult) -> None:
        if self._on_finished is not None:
            self._on_finished(result)


class _NoOwner:
    """Nobody waits for tokens of a simulation in virtual time."""

    def wait_for_start(self, handle: RequestHandle) -> None: ...
    def finish(self, handle: RequestHandle) -> None: ...
    def abort(self, handle: RequestHandle) -> None: ...


_NO_OWNER = _NoOwner()


def _raise(error: Exception) -> None:
    raise error
