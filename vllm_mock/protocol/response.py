"""Bodies of whole (not streamed) answers, every key in vLLM's order, null where there is no value."""

from collections.abc import Sequence
from dataclasses import dataclass

from vllm_mock.output import ToolCall
from vllm_mock.protocol.json_text import compact, quote, quote_or_null, to_bytes
from vllm_mock.protocol.usage import Usage


@dataclass(slots=True)
class Choice:
    """One finished choice. `logprobs`, `prompt_logprobs`, `audio` and the id lists are JSON text.

    A chat's text may be None; it alone has `reasoning` and `tool_calls`. `further` are members beyond vLLM's, as JSON
    text with its leading comma.
    """

    text: str | None
    finish_reason: str
    stop_reason: str | int | None = None
    logprobs: str = "null"
    token_ids: str = "null"
    prompt_logprobs: str = "null"
    prompt_token_ids: str = "null"
    reasoning: str | None = None
    tool_calls: Sequence[ToolCall] = ()
    further: str = ""
    audio: str = "null"


@dataclass(slots=True)
class Envelope:
    """What a whole answer says about itself. `prompt_*` (used by chat alone) and what follows them are JSON text.

    `further` are members beyond vLLM's, with their leading comma.
    """

    response_id: str
    created: int
    model: str
    fingerprint: str | None
    usage: Usage
    prompt_logprobs: str = "null"
    prompt_token_ids: str = "null"
    prompt_text: str = "null"
    kv_transfer_params: str = "null"
    metrics: str = "null"
    further: str = ""

    def head(self, object_name: str) -> str:
        return (
            f'{{"id":{quote(self.response_id)},"object":"{object_name}","created":{self.created},'
            f'"model":{quote(self.model)},"choices":['
        )

    def middle(self) -> str:
        fingerprint = "null" if self.fingerprint is None else quote(self.fingerprint)
        return f'],"service_tier":null,"system_fingerprint":{fingerprint},"usage":{self.usage.body()}'

    def tail(self) -> str:
        return (
            f'"kv_transfer_params":{self.kv_transfer_params},"ec_transfer_params":null,"metrics":{self.metrics}'
            f"{self.further}}}"
        )


def chat_completion(envelope: Envelope, role: str, choices: list[Choice]) -> bytes:
    """The body of a chat completion."""
    rendered = ",".join(_chat_choice(index, role, choice) for index, choice in enumerate(choices))
    return to_bytes(
        f"{envelope.head('chat.completion')}{rendered}{envelope.middle()},"
        f'"prompt_logprobs":{envelope.prompt_logprobs},"prompt_token_ids":{envelope.prompt_token_ids},'
        f'"prompt_text":{envelope.prompt_text},{envelope.tail()}'
    )


def _chat_choice(index: int, role: str, choice: Choice) -> str:
    return (
        f'{{"index":{index},"message":{chat_message(role, choice)},'
        f'"logprobs":{choice.logprobs},"finish_reason":"{choice.finish_reason}",'
        f'"stop_reason":{compact(choice.stop_reason)},"token_ids":{choice.token_ids},'
        f'"routed_experts":null,"weight_versions":null{choice.further}}}'
    )


def chat_message(role: str, choice: Choice) -> str:
    """JSON text of a choice's message."""
    calls = f'"tool_calls":[{",".join(map(_tool_call, choice.tool_calls))}],' if choice.tool_calls else ""
    return (
        f'{{"role":{quote(role)},"content":{quote_or_null(choice.text)},"refusal":null,'
        f'"annotations":null,"audio":{choice.audio},"function_call":null,{calls}"reasoning":{quote_or_null(choice.reasoning)}}}'
    )


def _tool_call(call: ToolCall) -> str:
    return (
        f'{{"id":{quote(call.id)},"type":"function",'
        f'"function":{{"name":{quote(call.name)},"arguments":{quote(call.arguments)}}}}}'
    )


def text_completion(envelope: Envelope, choices: list[Choice]) -> bytes:
    """The body of a text completion."""
    rendered = ",".join(_completion_choice(index, choice) for index, choice in enumerate(choices))
    return to_bytes(f"{envelope.head('text_completion')}{rendered}{envelope.middle()},{envelope.tail()}")


def _completion_choice(index: int, choice: Choice) -> str:
    return (
        f'{{"index":{index},"text":{quote_or_null(choice.text)},"logprobs":{choice.logprobs},'
        f'"finish_reason":"{choice.finish_reason}","stop_reason":{compact(choice.stop_reason)},'
        f'"token_ids":{choice.token_ids},"prompt_logprobs":{choice.prompt_logprobs},'
        f'"prompt_token_ids":{choice.prompt_token_ids},"routed_experts":null,"weight_versions":null{choice.further}}}'
    )
