"""The limits at which the engine refuses requests instead of queueing them."""

from collections.abc import Sequence

from vllm_mock.engine.request import EngineRequest

TOO_MANY_REQUESTS = "max_num_queued_reqs"
TOO_MANY_TOKENS = "max_num_queued_tokens"


class QueueLimits:
    """vLLM's --max-num-queued-reqs and --max-num-queued-tokens; None means no limit.

    Measured on vLLM 0.33.0's frontend: it looks at one prompt (with its n sequences) after the
    other. The limit of requests holds for all unfinished ones, running included, and the new
    sequences must fit. The limit of tokens holds for the prompts that have no first token yet,
    and refuses a prompt only when the backlog before it has reached the limit.
    """

    def __init__(self, max_requests: int | None, max_tokens: int | None) -> None:
        self._max_requests = max_requests
        self._max_tokens = max_tokens
        self.limits_tokens = max_tokens is not None
        self.unlimited = max_requests is None and max_tokens is None

    def refusals(self, requests: Sequence[EngineRequest], unfinished: int, backlog: int) -> list[str]:
        """The reason of each refused prompt; `backlog` in prompt tokens that wait for their first token."""
        refused = []
        for request in requests:
            if request.index:
                continue
            if self._max_requests is not None and unfinished + request.n > self._max_requests:
                refused.append(TOO_MANY_REQUESTS)
            elif self._max_tokens is not None and backlog >= self._max_tokens:
                refused.append(TOO_MANY_TOKENS)
            else:
                unfinished += request.n
                backlog += request.n * len(request.prompt_token_ids)
        return refused
