"""Answers and chunks of /inference/v1/generate, keys in vLLM's order."""

from collections.abc import Sequence
from dataclasses import dataclass

from vllm_mock.protocol.json_text import compact, quote, to_bytes
from vllm_mock.protocol.logprobs import TokenEntry, number
from vllm_mock.protocol.sse import json_ids
from vllm_mock.protocol.usage import Usage


@dataclass(slots=True)
class Generated:
    """A choice, or what a chunk adds to it. `logprobs` and `message` are JSON text; the output mode decides which
    of `text` and `message` is shown.
    """

    index: int
    token_ids: Sequence[int]
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    logprobs: str = "null"
    text: str | None = None
    message: str | None = None

    def json(self) -> str:
        shown = "" if self.text is None else f'"text":{quote(self.text)},'
        if self.message is not None:
            shown = f'"message":{self.message},'
        return (
            f'{{"index":{self.index},"finish_reason":{compact(self.finish_reason)},'
            f'"stop_reason":{compact(self.stop_reason)},"token_ids":{json_ids(self.token_ids)},'
            f'"routed_experts":null,"sampling_mask":null,"weight_versions":null,{shown}"logprobs":{self.logprobs}}}'
        )


@dataclass(slots=True)
class Envelope:
    """What an answer says about itself. `prompt_*`, `metrics` and `kv_transfer_params` are JSON text."""

    request_id: str
    output_mode: str
    model: str
    created: int
    prompt_logprobs: str = "null"
    prompt_token_ids: str = "null"
    metrics: str = "null"
    kv_transfer_params: str = "null"

    def answer(self, usage: Usage, choices: Sequence[Generated]) -> bytes:
        """A whole answer."""
        return to_bytes(
            f'{{"request_id":{quote(self.request_id)},"model":{quote(self.model)},"created":{self.created},'
            f'"usage":{usage.body()},"prompt_logprobs":{self.prompt_logprobs},"prompt_token_id_logprobs":null,'
            f'"prompt_token_ids":{self.prompt_token_ids},"mm_placeholders":null,"metrics":{self.metrics},'
            f'"kv_transfer_params":{self.kv_transfer_params},"ec_transfer_params":null,'
            f'"output_mode":"{self.output_mode}","choices":[{",".join(choice.json() for choice in choices)}]}}'
        )

    def chunk(self, usage: str, choice: Generated | None, *, with_prompt: bool = False) -> str:
        """A chunk with one choice, or with the usage alone; `usage` is JSON text."""
        prompt = f'"prompt_token_ids":{self.prompt_token_ids},' if with_prompt else ""
        return (
            f'data: {{"request_id":{quote(self.request_id)},"usage":{usage},{prompt}'
            f'"output_mode":"{self.output_mode}","choices":[{"" if choice is None else choice.json()}]}}\n\n'
        )


def token_logprobs(entries: Sequence[TokenEntry]) -> str:
    """`logprobs` by token ids alone."""
    return f'{{"content":[{",".join(map(_entry, entries))}]}}'


def _entry(entry: TokenEntry) -> str:
    ranked = [_place(token_id, logprob, rank) for token_id, _, logprob, rank in entry.ranked()]
    return f'{ranked[0][:-1]},"top_logprobs":[{",".join(ranked)}]}}'


def _place(token_id: int, logprob: float, rank: int) -> str:
    return f'{{"token_id":{token_id},"logprob":{number(logprob)},"rank":{rank}}}'
