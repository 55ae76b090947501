"""What goes into the generator, a SamplingSpec, and what comes out, a ChoicePlan per answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .framing import Framing
from .logprobs import TokenLogprobs

if TYPE_CHECKING:
    from .structured import Structure

FinishReason = Literal["stop", "length", "abort"]
# Below this temperature vLLM samples greedily.
GREEDY_TEMPERATURE = 1e-5


@dataclass(slots=True)
class SamplingSpec:
    """What a request says about its answers.

    `max_tokens` is the bound in tokens, already reduced to what the context leaves. `logprobs` is a number of
    alternatives (-1: all), None for no log probabilities; those of the prompt come from
    Generator.prompt_logprobs(). `last_user_text` is what the echo mode repeats. `model` is the name that the text
    mentions, "" for the first served one. `framing` and `structure` have no effect in the echo mode, which repeats
    what is to be parsed; `allowed_token_ids` excludes framing, and structure excludes restrictions of the vocabulary.
    All others are vLLM's parameters.
    """

    max_tokens: int
    n: int = 1
    stop: Sequence[str] = ()
    stop_token_ids: Sequence[int] = ()
    include_stop_str_in_output: bool = False
    min_tokens: int = 0
    ignore_eos: bool = False
    seed: int | None = None
    temperature: float | None = None
    logprobs: int | None = None
    skip_special_tokens: bool = True
    last_user_text: str = ""
    model: str = ""
    allowed_token_ids: Sequence[int] | None = None
    logit_bias: Mapping[int, float] | None = None
    bad_words: Sequence[str] | None = None
    framing: Framing | None = None
    structure: "Structure | None" = None

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken, so that the prompt alone fixes the answer."""
        return self.temperature is not None and self.temperature < GREEDY_TEMPERATURE


@dataclass(slots=True)
class ChoicePlan:
    """One answer: its tokens, what each of them adds to the text, and why it ends.

    `deltas` has one entry per token, "" where a token shows nothing (yet): vLLM sends a chunk for each token,
    an empty one for these. `stop_reason` is the stop string or the stop token id that ended the answer.
    `ends_empty`: the last entry is no token, but stands for the end of a stream that the operator cut short.
    """

    token_ids: list[int]
    deltas: list[str]
    finish_reason: FinishReason
    stop_reason: str | int | None = None
    logprobs: list[TokenLogprobs] | None = None
    ends_empty: bool = False

    @property
    def text(self) -> str:
        """The whole answer."""
        return "".join(self.deltas)

    def count(self, last: int) -> int:
        """How many tokens there are up to and including position `last`."""
        return last if self.ends_empty and last == len(self.token_ids) - 1 else last + 1

    def ids(self, first: int, last: int) -> list[int]:
        """The tokens at positions first..last."""
        return self.token_ids[first : self.count(last)]
