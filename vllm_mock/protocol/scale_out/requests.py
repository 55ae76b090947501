"""The requests of /inference/v1/generate and of the two /derender routes."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from vllm_mock.protocol.chat import ChatCompletionRequest
from vllm_mock.protocol.common import (
    OPEN,
    CacheSalt,
    ChatCompletionToolsParam,
    Int64,
    NamedToolChoice,
    StreamOptions,
    unchanged,
)
from vllm_mock.protocol.completions import CompletionRequest
from vllm_mock.protocol.parsing import RequestUnion
from vllm_mock.protocol.precheck import check_cache_salt
from vllm_mock.protocol.scale_out.sampling import AnySamplingParams


def _exist(ids: list[int]) -> list[int]:
    if any(token_id < 0 for token_id in ids):
        raise ValueError("token_ids must not contain negative values")
    return ids


TokenId = Annotated[int, Field(ge=0)]
GeneratedIds = Annotated[list[int], AfterValidator(_exist)]


class MultiModalFeatures(BaseModel):
    model_config = OPEN

    mm_hashes: dict[str, list[str]]
    mm_placeholders: dict[str, list[Any]]
    kwargs_data: dict[str, list[str | None]] | None = None
    mm_metadata: dict[str, list[str | None]] | None = None


class ReasoningParserKwargs(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True)

    chat_template_kwargs: dict[str, Any] = {}


class ParseContext(BaseModel):
    """What of a chat request is needed to read its answer."""

    model_config = OPEN

    tools: list[ChatCompletionToolsParam] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedToolChoice | None = "none"
    parallel_tool_calls: bool | None = True
    include_reasoning: bool = True
    chat_template_kwargs: dict[str, Any] = {}
    history_tool_call_cnt: Annotated[int, Field(ge=0)] = 0


class GenerateRequest(BaseModel):
    """The body of /inference/v1/generate. `request_id` is None unless the client set it."""

    model_config = OPEN

    request_id: str = None  # type: ignore[assignment]
    token_ids: Annotated[list[int], Field(min_length=1), AfterValidator(_exist)]
    token_offsets: list[tuple[int, int]] | None = None
    features: MultiModalFeatures | None = None
    content_parts: list[dict[str, Any]] | None = None
    sampling_params: AnySamplingParams
    model: str | None = None
    reasoning_ended: bool | None = None
    reasoning_parser_kwargs: ReasoningParserKwargs | None = None
    return_token_ids: bool | None = None
    output_mode: Literal["tokens", "text", "derender"] = "tokens"
    parse_context: ParseContext | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    cache_salt: CacheSalt | None = None
    priority: Int64 = 0
    kv_transfer_params: dict[str, Any] | None = None
    ec_transfer_params: dict[str, Any] | None = None

    precheck = staticmethod(check_cache_salt)


class GenerateLogProb(BaseModel):
    model_config = OPEN

    token_id: int
    logprob: float
    rank: int | None = None


class GenerateLogProbsContent(GenerateLogProb):
    top_logprobs: list[GenerateLogProb] = []


class GenerateLogProbs(BaseModel):
    model_config = OPEN

    content: list[GenerateLogProbsContent] | None = None


class GenerateTokensChoice(BaseModel):
    """A choice of a generate answer, or of a chunk of it."""

    model_config = OPEN

    index: int
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    token_ids: GeneratedIds | None = None
    logprobs: GenerateLogProbs | None = None


class UsageInfo(BaseModel):
    model_config = OPEN

    prompt_tokens: int = 0
    total_tokens: int = 0
    completion_tokens: int | None = 0


class GenerateTokensResponse(BaseModel):
    """An answer, or a chunk, of /inference/v1/generate with the output mode "tokens"."""

    model_config = OPEN

    request_id: str | None = None
    model: str | None = None
    created: int | None = None
    usage: UsageInfo | None = None
    prompt_logprobs: list[Any] | None = None
    prompt_token_id_logprobs: str | None = None
    prompt_token_ids: list[TokenId] | None = None
    mm_placeholders: dict[str, list[Any]] | None = None
    metrics: dict[str, Any] | None = None
    kv_transfer_params: dict[str, Any] | None = None
    ec_transfer_params: dict[str, Any] | None = None
    output_mode: Literal["tokens"] = "tokens"
    choices: list[GenerateTokensChoice]


class StreamState(BaseModel):
    """What the next chunk's derendering must know. `prev_tokens`: tokens whose text may still be incomplete."""

    model_config = OPEN

    prev_tokens: list[str] = []
    prefix_offset: Annotated[int, Field(ge=0)] = 0
    read_offset: Annotated[int, Field(ge=0)] = 0
    role_sent: bool = False
    logprob_context_token_ids: Annotated[list[int], Field(max_length=4)] = []
    logprob_text_offset: Annotated[int, Field(ge=0)] = 0
    output_token_ids: list[int] = []
    output_chunk_lens: list[Annotated[int, Field(gt=0)]] = []
    tools_streamed: bool = False
    last_tool_call_ids: list[str] = []


class DerenderChatRequest(BaseModel):
    """A whole chat."""

    model_config = OPEN

    stream: Literal[False] = False
    model: str | None = None
    generate_response: GenerateTokensResponse
    prompt_tokens: int | None = None
    prompt_token_ids: list[TokenId] | None = None
    chat_request: ChatCompletionRequest | None = None


class _DerenderStreamRequest(BaseModel):
    model_config = OPEN

    stream: Literal[True]
    model: str | None = None
    generate_chunk: GenerateTokensResponse
    stream_state: StreamState | None = None
    prompt_tokens: int | None = None
    prompt_token_ids: list[TokenId] | None = None


class DerenderChatStreamRequest(_DerenderStreamRequest):
    """A chunk of a chat."""

    chat_request: ChatCompletionRequest | None = None


class DerenderCompletionRequest(BaseModel):
    """Whole completions, one per prompt."""

    model_config = OPEN

    stream: Literal[False] = False
    model: str | None = None
    generate_responses: list[GenerateTokensResponse]
    prompt_tokens: list[int] | None = None
    prompt_token_ids: list[list[TokenId] | None] | None = None
    completion_request: CompletionRequest | None = None


class DerenderCompletionStreamRequest(_DerenderStreamRequest):
    """A chunk of a completion."""

    completion_request: CompletionRequest | None = None


DerenderChat: RequestUnion[DerenderChatRequest | DerenderChatStreamRequest] = RequestUnion(
    DerenderChatRequest | DerenderChatStreamRequest
)
# vLLM's name of the first of these does not show in the place of an error.
DerenderCompletion: RequestUnion[DerenderCompletionRequest | DerenderCompletionStreamRequest] = RequestUnion(
    Annotated[DerenderCompletionRequest, unchanged] | DerenderCompletionStreamRequest
)
