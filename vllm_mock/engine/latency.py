"""How long things take in the FixedEngine: constants, their spread, and how load stretches them."""

import random
from itertools import accumulate

from vllm_mock.engine.timeline import Timeline
from vllm_mock.settings import Settings

# llm-d's rule: a sample with a standard deviation stays within 70 % of its mean.
_WIDEST_DEVIATION = 0.7


class LatencyModel:
    """Draws the timeline of a request from the latency settings (all in seconds).

    first token = time_to_first_token + prefill_overhead + uncached prompt tokens x
    prefill_time_per_token + overload_penalty x running requests beyond server_capacity
    + 0..latency_jitter (uniform, as AIBrix's mock: once for each request);
    each later token = inter_token_latency. A standard deviation makes its part a Gaussian sample:
    one for the prefill, one for each token. All of it is multiplied by llm-d's load factor,
    1 + (time_factor_under_load - 1) x (running - 1) / (max_num_seqs - 1).

    request_duration is the least time from start to last token: a shorter request keeps its first
    token and has its gaps stretched in proportion; if it has only one token, that one comes later.

    When the prompt's KV cache comes from a peer, its transfer takes the place of the prefill: first token =
    kv_cache_transfer_latency + tokens to transfer x kv_cache_transfer_time_per_token, each a sample if it has a
    standard deviation.
    """

    def __init__(self, settings: Settings) -> None:
        self._ttft = settings.time_to_first_token
        self._ttft_std_dev = settings.time_to_first_token_std_dev
        self._prefill_overhead = settings.prefill_overhead
        self._prefill_per_token = settings.prefill_time_per_token
        self._prefill_std_dev = settings.prefill_time_std_dev
        self._transfer = settings.kv_cache_transfer_latency
        self._transfer_std_dev = settings.kv_cache_transfer_latency_std_dev
        self._transfer_per_token = settings.kv_cache_transfer_time_per_token
        self._transfer_time_std_dev = settings.kv_cache_transfer_time_std_dev
        self._itl = settings.inter_token_latency
        self._itl_std_dev = settings.inter_token_latency_std_dev
        self._jitter = settings.latency_jitter
        self._capacity = settings.server_capacity
        self._overload_penalty = settings.overload_penalty
        self._request_duration = settings.request_duration
        seats = settings.max_num_seqs - 1
        self._factor_per_request = (settings.time_factor_under_load - 1) / seats if seats else 0.0
        self._random = random.Random(settings.seed)

    def timeline(
        self,
        start: float,
        uncached_tokens: int,
        output_tokens: int,
        running: int,
        *,
        earliest: float = 0.0,
        loads_kv: bool = False,
        delay: float = 0.0,
    ) -> Timeline:
        """The schedule of a request that leaves the queue at `start` and is one of `running`.

        Its first token does not come before `earliest`. `loads_kv`: what is not cached comes from a peer instead of
        being computed. `delay` is added to what the model says.
        """
        factor = 1 + self._factor_per_request * (running - 1)
        latency = self.transfer_latency(uncached_tokens) if loads_kv else self._first_latency(uncached_tokens, running)
        first = max(earliest, start + factor * latency + delay)
        least_last = start + self._request_duration
        if output_tokens == 1:
            return Timeline(max(first, least_last), 1, 0.0)
        if self._itl_std_dev:
            return self._irregular(first, output_tokens, factor, least_last)
        interval = max(factor * self._itl, (least_last - first) / (output_tokens - 1))
        return Timeline(first, output_tokens, interval)

    def _irregular(self, first: float, output_tokens: int, factor: float, least_last: float) -> Timeline:
        gaps = [factor * self._sample(self._itl, self._itl_std_dev) for _ in range(output_tokens - 1)]
        total, least = sum(gaps), least_last - first
        if total < least:
            gaps = [gap * least / total for gap in gaps] if total else [least / len(gaps)] * len(gaps)
        return Timeline(first, output_tokens, 0.0, list(accumulate(gaps, initial=first)))

    def _first_latency(self, uncached_tokens: int, running: int) -> float:
        ttft = self._sample(self._ttft, self._ttft_std_dev)
        prefill = self._prefill_overhead + uncached_tokens * self._prefill_per_token
        latency = ttft + self._sample(prefill, self._prefill_std_dev)
        if self._capacity is not None and running > self._capacity:
            latency += (running - self._capacity) * self._overload_penalty
        if self._jitter:
            latency += self._random.uniform(0.0, self._jitter)
        return latency

    def recomputation(self, tokens: int) -> float:
        """How long a request that had so many tokens takes to its next one when all have to be computed anew."""
        return self._first_latency(tokens, 1)

    def transfer_latency(self, tokens: int) -> float:
        """How long the KV cache of that many tokens takes to come from a peer."""
        latency = self._sample(self._transfer, self._transfer_std_dev)
        return latency + self._sample(tokens * self._transfer_per_token, self._transfer_time_std_dev)

    def _sample(self, mean: float, std_dev: float) -> float:
        if not std_dev:
            return mean
        widest = _WIDEST_DEVIATION * mean
        return min(max(self._random.gauss(mean, std_dev), mean - widest), mean + widest)
