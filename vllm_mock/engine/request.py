"""What goes into an engine (EngineRequest), and the refusals it may answer with."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

# vLLM's values of the label finished_reason.
FINISH_REASONS = ("stop", "length", "abort", "error", "repetition")


class QueueFull(Exception):
    """The engine takes no more requests; `reason` is the label of admission_rejections_total."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class EnginePaused(Exception):
    """The engine takes no requests until it is resumed."""


class NeverFits(Exception):
    """The request needs more KV blocks than the cache has in all."""

    def __init__(self, needed_blocks: int, total_blocks: int) -> None:
        super().__init__(f"the request needs {needed_blocks} KV blocks, but there are only {total_blocks}")
        self.needed_blocks = needed_blocks
        self.total_blocks = total_blocks


@dataclass(slots=True)
class Failure:
    """An error of the engine on purpose, behind `after` tokens of all n sequences; `happened`: the client was told."""

    after: int
    happened: bool = False


@dataclass(slots=True, eq=False)
class EngineRequest:
    """One sequence to be generated: its tokens are known beforehand, its times are not.

    `output_token_ids` holds at least one token (the end-of-sequence token included).
    `max_tokens` is the effective bound, `finish_reason` how the output ends
    (one of FINISH_REASONS). `loads_kv`: the prompt's KV cache comes from a peer; `hands_over_kv`: a peer will be told
    the numbers of its blocks. KV events name its `session_id`, and with `reports_hits` they tell of the blocks that it
    finds cached as well. `arrival` is time.monotonic() seconds. A prompt sampled n times is
    n requests with `index` 0..n-1, submitted in that order. `pooling`: nothing is generated; the one output token
    stands for the end of the prefill, and counts nowhere. `delay`: seconds by which the first token is late.
    `failure`: it ends with an error. Raises ValueError.
    """

    request_id: str
    prompt_token_ids: Sequence[int]
    output_token_ids: Sequence[int]
    max_tokens: int
    priority: int = 0
    cache_salt: str | None = None
    lora_name: str | None = None
    lora_path: str = ""
    lora_id: int | None = None
    session_id: str | None = None
    reports_hits: bool = False
    loads_kv: bool = False
    hands_over_kv: bool = False
    arrival: float = field(default_factory=time.monotonic)
    finish_reason: str = "length"
    n: int = 1
    index: int = 0
    pooling: bool = False
    delay: float = 0.0
    failure: Failure | None = None

    def tokens(self, start: int, end: int) -> list[int]:
        """The tokens start..end-1 of prompt and output together."""
        prompt = len(self.prompt_token_ids)
        return [
            *self.prompt_token_ids[start:end],
            *self.output_token_ids[max(start - prompt, 0) : max(end - prompt, 0)],
        ]

    def __post_init__(self) -> None:
        # Refused here: inside the engine it would hit whoever happens to advance it.
        if not self.output_token_ids or self.finish_reason not in FINISH_REASONS:
            raise ValueError(f"no request: {len(self.output_token_ids)} tokens, finish reason {self.finish_reason}")

    @property
    def num_output_tokens(self) -> int:
        """Tokens that are generated in all."""
        return 0 if self.pooling else len(self.output_token_ids)
