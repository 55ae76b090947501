"""Server-sent events of chat and completion streams: byte templates in which only the text is escaped.

Keys that vLLM sets explicitly are sent as null, unset ones are left out; hence the uneven shapes of the
role, content, finish and usage chunks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from vllm_mock.output import OutputDelta, ToolCallDelta
from vllm_mock.protocol.json_text import compact, quote, quote_or_null, to_bytes
from vllm_mock.protocol.usage import Usage

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"


@dataclass(slots=True)
class StreamOptions:
    """What every chunk of one stream needs to know."""

    response_id: str
    created: int
    model: str
    fingerprint: str | None
    include_usage: bool
    continuous_usage: bool


@dataclass(slots=True)
class Token:
    """One output token of a choice, ready for rendering. `logprobs` and `token_ids` are JSON text."""

    text: str
    logprobs: str = "null"
    token_ids: str = "null"


class ChunkWriter:
    """Renders the chunks of one stream; the chat and completion writers fill in the shapes."""

    object_name: str

    def __init__(self, options: StreamOptions) -> None:
        self.options = options
        self.head = (
            f'data: {{"id":{quote(options.response_id)},"object":"{self.object_name}",'
            f'"created":{options.created},"model":{quote(options.model)},"choices":['
        )
        # With its leading comma; vLLM leaves the key out when --fingerprint-mode is none.
        self.fingerprint = "" if options.fingerprint is None else f',"system_fingerprint":{quote(options.fingerprint)}'

    def running_usage(self, prompt_tokens: int, completion_tokens: int) -> str:
        """The `usage` of a chunk under continuous_usage_stats, with its leading comma; else empty."""
        raise NotImplementedError

    def usage(self, usage: Usage, metrics: str | None = None) -> bytes:
        """The chunk that carries the whole usage and no choice; `metrics` is JSON text."""
        told = "" if metrics is None else f',"metrics":{metrics}'
        return to_bytes(f'{self.head}],"usage":{usage.final_chunk()}{self.fingerprint}{told}}}\n\n')


class ChatChunks(ChunkWriter):
    """Chunks of /v1/chat/completions."""

    object_name = "chat.completion.chunk"

    def running_usage(self, prompt_tokens: int, completion_tokens: int, reasoning_tokens: int | None = None) -> str:
        if not self.options.continuous_usage:
            return ""
        usage = Usage(prompt_tokens, completion_tokens, reasoning_tokens=reasoning_tokens)
        return f',"usage":{{{usage.counts()},{usage.reasoning()}}}'

    def role(
        self,
        index: int,
        role: str,
        prompt_tokens: int,
        prompt_token_ids: str,
        prompt_text: str,
        reasoning_tokens: int | None = None,
    ) -> bytes:
        """The first chunk of a choice. `prompt_token_ids` and `prompt_text` are JSON text."""
        return to_bytes(
            f'{self.head}{{"index":{index},"delta":{{"role":{quote(role)},"content":""}},"logprobs":null,'
            f'"finish_reason":null}}]{self.running_usage(prompt_tokens, 0, reasoning_tokens)},'
            f'"prompt_token_ids":{prompt_token_ids},"prompt_text":{prompt_text}}}\n\n'
        )

    def echo(self, index: int, text: str, prompt_tokens: int) -> bytes:
        """The chunk that repeats the last message when `echo` was asked for."""
        return to_bytes(
            f'{self.head}{{"index":{index},"delta":{{"content":{quote(text)}}},"logprobs":null,'
            f'"finish_reason":null}}]{self.running_usage(prompt_tokens, 0)}}}\n\n'
        )

    def plain_parts(self, index: int) -> tuple[str, str]:
        """What stands before and after the escaped text of an ordinary content chunk."""
        return (
            f'{self.head}{{"index":{index},"delta":{{"content":',
            '},"logprobs":null,"finish_reason":null,"token_ids":null}],"kv_transfer_params":null}\n\n',
        )

    def token(self, index: int, token: Token, prompt_tokens: int, completion_tokens: int) -> str:
        """A content chunk with logprobs, token ids or running usage."""
        return (
            f'{self.head}{{"index":{index},"delta":{{"content":{quote(token.text)}}},'
            f'"logprobs":{token.logprobs},"finish_reason":null,"token_ids":{token.token_ids}}}]'
            f'{self.running_usage(prompt_tokens, completion_tokens)},"kv_transfer_params":null}}\n\n'
        )

    def finish(
        self,
        index: int,
        token: Token,
        finish_reason: str,
        stop_reason: str | int | None,
        prompt_tokens: int,
        completion_tokens: int,
        kv_transfer_params: str = "null",
    ) -> str:
        """The last chunk of a choice, with whatever text its last token brings; `kv_transfer_params` is JSON text."""
        fingerprint = "" if self.options.include_usage else self.fingerprint
        return (
            f'{self.head}{{"index":{index},"delta":{{"content":{quote(token.text)}}},'
            f'"logprobs":{token.logprobs},"finish_reason":"{finish_reason}",'
            f'"stop_reason":{compact(stop_reason)},"token_ids":{token.token_ids},"weight_versions":null}}]'
            f"{self.running_usage(prompt_tokens, completion_tokens)}{fingerprint},"
            f'"kv_transfer_params":{kv_transfer_params}}}\n\n'
        )

    def parsed(self, index: int, delta: OutputDelta, logprobs: str, token_ids: str, usage: str) -> str:
        """A chunk of a parsed answer; `usage` is its running usage."""
        return (
            f'{self.head}{{"index":{index},"delta":{_delta(delta)},'
            f'"logprobs":{logprobs},"finish_reason":null,"token_ids":{token_ids}}}]'
            f'{usage},"kv_transfer_params":null}}\n\n'
        )

    def parsed_finish(
        self,
        index: int,
        delta: OutputDelta,
        finish_reason: str,
        stop_reason: str | int | None,
        logprobs: str,
        token_ids: str,
        usage: str,
        kv_transfer_params: str = "null",
    ) -> str:
        """The last chunk of a choice of a parsed answer; `usage` is its running usage."""
        fingerprint = "" if self.options.include_usage else self.fingerprint
        return (
            f'{self.head}{{"index":{index},"delta":{_delta(delta)},'
            f'"logprobs":{logprobs},"finish_reason":"{finish_reason}",'
            f'"stop_reason":{compact(stop_reason)},"token_ids":{token_ids},"weight_versions":null}}]'
            f'{usage}{fingerprint},"kv_transfer_params":{kv_transfer_params}}}\n\n'
        )


def _delta(delta: OutputDelta) -> str:
    """The `delta` of a parsed answer's chunk: only the keys that the parser set."""
    keys = []
    if delta.content is not None or delta.null_content:
        keys.append(f'"content":{quote_or_null(delta.content)}')
    if delta.reasoning is not None or delta.null_reasoning:
        keys.append(f'"reasoning":{quote_or_null(delta.reasoning)}')
    if delta.tool_calls:
        keys.append(f'"tool_calls":[{",".join(map(_tool_call_delta, delta.tool_calls))}]')
    return f"{{{','.join(keys)}}}"


def _tool_call_delta(call: ToolCallDelta) -> str:
    begins = "" if call.id is None else f'"id":{quote(call.id)},"type":"function",'
    keys = []
    if call.name is not None:
        keys.append(f'"name":{quote(call.name)}')
    if call.arguments is not None:
        keys.append(f'"arguments":{quote(call.arguments)}')
    return f'{{{begins}"index":{call.index},"function":{{{",".join(keys)}}}}}'


class CompletionChunks(ChunkWriter):
    """Chunks of /v1/completions."""

    object_name = "text_completion"

    def running_usage(self, prompt_tokens: int, completion_tokens: int) -> str:
        if not self.options.continuous_usage:
            return ""
        return f',"usage":{{{Usage(prompt_tokens, completion_tokens).counts()}}}'

    def plain_parts(self, index: int) -> tuple[str, str]:
        """What stands before and after the escaped text of an ordinary chunk."""
        return (
            f'{self.head}{{"index":{index},"text":',
            ',"logprobs":null,"finish_reason":null,"stop_reason":null,"prompt_token_ids":null,'
            '"token_ids":null,"weight_versions":null}],"kv_transfer_params":null}\n\n',
        )

    def chunk(
        self,
        index: int,
        token: Token,
        prompt_tokens: int,
        completion_tokens: int,
        *,
        finish_reason: str | None = None,
        stop_reason: str | int | None = None,
        prompt_token_ids: str = "null",
        kv_transfer_params: str = "null",
    ) -> str:
        """Any chunk of a choice; with `finish_reason` it is the last one."""
        fingerprint = ""
        if finish_reason is not None and not self.options.include_usage:
            fingerprint = self.fingerprint
        return (
            f'{self.head}{{"index":{index},"text":{quote(token.text)},"logprobs":{token.logprobs},'
            f'"finish_reason":{compact(finish_reason)},"stop_reason":{compact(stop_reason)},'
            f'"prompt_token_ids":{prompt_token_ids},"token_ids":{token.token_ids},"weight_versions":null}}]'
            f"{self.running_usage(prompt_tokens, completion_tokens)}{fingerprint},"
            f'"kv_transfer_params":{kv_transfer_params}}}\n\n'
        )


def json_ids(ids: Sequence[int] | None) -> str:
    """Token ids as JSON text; null for None."""
    return "null" if ids is None else compact(list(ids))


def event(data: str) -> bytes:
    """One server-sent event."""
    return to_bytes(f"data: {data}\n\n")
