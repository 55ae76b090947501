"""What the engine's events add to vLLM's families."""

from collections.abc import Callable, Sequence

from vllm_mock.engine import FINISH_REASONS, RequestHandle
from vllm_mock.metrics.accumulators import Histogram, Value
from vllm_mock.metrics.throughput import Throughput


class Traffic:
    """An EngineObserver; all calls come with the engine's lock held, so nothing locks here.

    Tokens count when they are due. That is known from a request's timeline, so they are counted
    in bulk: at each scrape (`progress`), and when the request ends.
    """

    def __init__(
        self, value: Callable[..., Value], histogram: Callable[[str], Histogram], *, caching: bool, has_peers: bool
    ) -> None:
        """`value` and `histogram` find a series by family name.

        caching: there is a prefix cache. has_peers: a KV connector is configured, which looks every prompt up.
        """
        self._caching = caching
        self._has_peers = has_peers
        self.prompt_throughput = Throughput()
        self.generation_throughput = Throughput()
        self.aborted_requests = Value()
        self._running = 0
        self._decode_tokens = 0
        self._queries = value("vllm:prefix_cache_queries")
        self._hits = value("vllm:prefix_cache_hits")
        self._external_queries = value("vllm:external_prefix_cache_queries")
        self._external_hits = value("vllm:external_prefix_cache_hits")
        self._prompt_tokens = value("vllm:prompt_tokens")
        self._computed = value("vllm:prompt_tokens_by_source", "local_compute")
        self._cache_hit = value("vllm:prompt_tokens_by_source", "local_cache_hit")
        self._transferred = value("vllm:prompt_tokens_by_source", "external_kv_transfer")
        self._cached = value("vllm:prompt_tokens_cached")
        self._cached_on_device = value("vllm:prompt_tokens_cached_by_source", "device")
        self._cached_at_peer = value("vllm:prompt_tokens_cached_by_source", "external_unspecified")
        self._generation_tokens = value("vllm:generation_tokens")
        self._success = {reason: value("vllm:request_success", reason) for reason in FINISH_REASONS}
        self._rejections = {
            reason: value("vllm:admission_rejections", reason)
            for reason in ("max_num_queued_reqs", "max_num_queued_tokens")
        }
        self._observe_iteration = histogram("vllm:iteration_tokens_total").observe
        self._observe_first = histogram("vllm:time_to_first_token_seconds").observe
        self._observe_gap = histogram("vllm:inter_token_latency_seconds").observe
        self._observe_prompt = histogram("vllm:request_prompt_tokens").observe
        self._observe_generation = histogram("vllm:request_generation_tokens").observe
        self._observe_longest = histogram("vllm:request_max_num_generation_tokens").observe
        self._observe_n = histogram("vllm:request_params_n").observe
        self._observe_max_tokens = histogram("vllm:request_params_max_tokens").observe
        self._observe_per_token = histogram("vllm:request_time_per_output_token_seconds").observe
        self._observe_e2e = histogram("vllm:e2e_request_latency_seconds").observe
        self._observe_queue = histogram("vllm:request_queue_time_seconds").observe
        self._observe_inference = histogram("vllm:request_inference_time_seconds").observe
        self._observe_prefill = histogram("vllm:request_prefill_time_seconds").observe
        self._observe_decode = histogram("vllm:request_decode_time_seconds").observe
        self._preemptions = value("vllm:num_preemptions")
        self._observe_preemptions = histogram("vllm:request_num_preemptions").observe
        self._observe_computed = histogram("vllm:request_prefill_kv_computed_tokens").observe

    @property
    def finished_requests(self) -> float:
        """Requests that ended well, whatever the reason."""
        return sum(value.value for reason, value in self._success.items() if reason not in ("abort", "error"))

    def scheduled(self, handle: RequestHandle) -> None:
        self._running += 1
        if self._caching:
            self._queries.value += handle.num_prompt_tokens
            self._hits.value += handle.num_cached_tokens
        external = handle.num_external_tokens
        if external or self._has_peers:
            self._external_queries.value += handle.num_prompt_tokens - handle.num_cached_tokens
            self._external_hits.value += external

    def finished(self, handle: RequestHandle) -> None:
        request = handle.request
        self._count_tokens(handle, len(request.output_token_ids))
        failure = request.failure
        failed = failure is not None and request.n * request.num_output_tokens > failure.after
        self._count_end(handle, request.num_output_tokens, "error" if failed else request.finish_reason)

    def _count_end(self, handle: RequestHandle, tokens: int, reason: str) -> None:
        """An end that the engine itself told, after so many tokens."""
        request, ended = handle.request, handle.finished_at
        # One that failed may have had none.
        first = handle.first_token_due if tokens or request.pooling else ended
        decode = max(0.0, ended - first)
        self._running -= 1
        self._success[reason].value += 1
        self._observe_prompt(handle.num_prompt_tokens)
        self._observe_generation(tokens)
        if not request.pooling:
            self._observe_max_tokens(request.max_tokens)
        self._observe_per_token(decode / (tokens - 1) if tokens > 1 else 0.0)
        self._observe_e2e(ended - request.arrival)
        self._observe_queue(handle.scheduled - handle.queued)
        self._observe_inference(ended - handle.scheduled)
        self._observe_prefill(first - handle.scheduled)
        self._observe_decode(decode)
        self._observe_preemptions(handle.num_preemptions)
        self._observe_computed(handle.num_prompt_tokens - handle.num_cached_tokens - handle.num_external_tokens)
        self._count_prompt(handle, tokens)

    def aborted(self, handle: RequestHandle) -> None:
        failure = handle.request.failure
        if failure is not None and failure.happened and handle.scheduled:
            self.progress(handle, handle.finished_at)
            self._count_end(handle, 0 if handle.request.pooling else handle.counted, "error")
            return
        self.aborted_requests.value += 1
        # vLLM forgets a request whose client has gone: it counts nowhere but in tokens.
        if handle.scheduled:
            self.progress(handle, handle.finished_at)
            self._running -= 1

    def stopped(self, handle: RequestHandle) -> None:
        """Ended by the operator: unlike a client that leaves, vLLM counts it as finished."""
        self._success["abort"].value += 1
        if handle.scheduled:
            self.progress(handle, handle.finished_at)
            self._running -= 1
            self._observe_e2e(handle.finished_at - handle.request.arrival)

    def failed(self, handle: RequestHandle) -> None:
        self._success["error"].value += 1
        self._running -= 1

    def preempted(self, handle: RequestHandle) -> None:
        self._preemptions.value += 1

    def stepped(self, at: float, decoders: int, gap: float, completed: Sequence[RequestHandle]) -> None:
        """What a simulation's step has brought; a step that computed parts of prompts alone counts nowhere in vLLM."""
        tokens, prompts = decoders, 0
        if decoders:
            self._observe_gap(gap, decoders)
        for handle in completed:
            if handle.counted:
                self._observe_gap(at - handle.previous_due)
            else:
                prompts += self._count_prompt_tokens(handle)
            tokens += not handle.request.pooling
        self._generation_tokens.value += tokens
        self.generation_throughput.add(tokens, at)
        self._observe_iteration(prompts + tokens)

    def rejected(self, reason: str, prompts: int) -> None:
        self._rejections[reason].value += prompts

    def progress(self, handle: RequestHandle, now: float) -> None:
        """Counts the tokens of a running request that are due by `now`."""
        self._count_tokens(handle, handle.tokens_due(now))

    def _count_tokens(self, handle: RequestHandle, due: int) -> None:
        counted = handle.counted
        if due <= counted:
            return
        handle.counted = due
        if handle.request.pooling:
            self._count_first_token(handle)
            return
        self._generation_tokens.value += due - counted
        self._count_throughput(handle, counted, due)
        if counted == 0:
            self._count_first_token(handle)
            counted = 1
        if due > counted:
            self._count_gaps(handle, counted, due)
            self._count_decode_steps(due - counted)

    def _count_throughput(self, handle: RequestHandle, counted: int, due: int) -> None:
        timeline = handle.timeline
        assert timeline is not None
        if timeline.dues is None:
            interval = timeline.interval
            self.generation_throughput.add_evenly(due - counted, timeline.first + counted * interval, interval)
            return
        for number in range(counted, due):
            self.generation_throughput.add(1, timeline.dues[number])

    def _count_first_token(self, handle: RequestHandle) -> None:
        computed = self._count_prompt_tokens(handle)
        self._observe_iteration(computed if handle.request.pooling else computed + 1)

    def _count_prompt_tokens(self, handle: RequestHandle) -> int:
        """Where the prompt of a request with its first token came from; how many of its tokens were computed."""
        cached = handle.num_cached_tokens
        external = handle.num_external_tokens
        computed = handle.num_prompt_tokens - cached - external
        self._observe_first(handle.first_token_due - handle.request.arrival)
        self._prompt_tokens.value += handle.num_prompt_tokens
        self.prompt_throughput.add(handle.num_prompt_tokens, handle.first_token_due)
        self._computed.value += computed
        if cached:
            self._cache_hit.value += cached
            self._cached.value += cached
            self._cached_on_device.value += cached
        if external:
            self._transferred.value += external
            self._cached.value += external
            self._cached_at_peer.value += external
        return computed

    def _count_gaps(self, handle: RequestHandle, counted: int, due: int) -> None:
        timeline = handle.timeline
        assert timeline is not None
        if timeline.dues is None:
            self._observe_gap(timeline.interval, due - counted)
            return
        for number in range(counted, due):
            self._observe_gap(timeline.dues[number] - timeline.dues[number - 1])

    def _count_decode_steps(self, tokens: int) -> None:
        """Steps that never were: vLLM's would each give one token to every running request."""
        self._decode_tokens += tokens
        steps, self._decode_tokens = divmod(self._decode_tokens, self._running)
        if steps:
            self._observe_iteration(self._running, steps)

    def _count_prompt(self, handle: RequestHandle, tokens: int) -> None:
        """What counts once for the n sequences of a prompt, when the last of them is finished."""
        group = handle.group
        if group is None:
            self._observe_n(1)
            self._observe_longest(tokens)
            return
        group.unfinished -= 1
        group.longest = max(group.longest, tokens)
        if not group.unfinished:
            self._observe_n(group.n)
            self._observe_longest(group.longest)
