"""The requests of /score and /rerank."""

from typing import Annotated, Any, Required, TypeAlias

from pydantic import Field
from typing_extensions import TypedDict

from vllm_mock.protocol.common import unchanged
from vllm_mock.protocol.messages import (
    ChatCompletionContentPartImageEmbedsParam,
    ChatCompletionContentPartImageParam,
    ChatCompletionContentPartTextParam,
    ChatCompletionContentPartVideoParam,
)
from vllm_mock.protocol.parsing import RequestUnion
from vllm_mock.protocol.pooling import Activation, Model, Padding, Scheduling
from vllm_mock.protocol.precheck import check_cache_salt


class ScoreMultiModalParam(TypedDict, total=False):
    """A text as a list of content parts; vLLM's name shows in complaints."""

    content: Required[
        list[
            ChatCompletionContentPartImageParam
            | ChatCompletionContentPartImageEmbedsParam
            | ChatCompletionContentPartTextParam
            | ChatCompletionContentPartVideoParam
        ]
    ]


Scored: TypeAlias = str | ScoreMultiModalParam
ScoredList: TypeAlias = str | ScoreMultiModalParam | list[str | ScoreMultiModalParam]


class ScoringRequest(Scheduling, Padding, Model, Activation):
    """What all requests have in common. `max_tokens_per_*`: 0 is no limit."""

    max_tokens_per_query: int = 0
    max_tokens_per_doc: int = 0
    instruction: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @staticmethod
    def precheck(data: dict[str, Any]) -> None:
        """vLLM's look at the raw body. Raises ApiError."""
        check_cache_salt(data)

    def sides(self) -> tuple[ScoredList, ScoredList]:
        """The queries and the documents."""
        raise NotImplementedError


class ScoreQueriesDocumentsRequest(ScoringRequest):
    queries: ScoredList
    documents: ScoredList

    def sides(self) -> tuple[ScoredList, ScoredList]:
        return self.queries, self.documents


class ScoreQueriesItemsRequest(ScoringRequest):
    queries: ScoredList
    items: ScoredList

    def sides(self) -> tuple[ScoredList, ScoredList]:
        return self.queries, self.items


class ScoreDataRequest(ScoringRequest):
    data_1: ScoredList
    data_2: ScoredList

    def sides(self) -> tuple[ScoredList, ScoredList]:
        return self.data_1, self.data_2


class ScoreTextRequest(ScoringRequest):
    text_1: ScoredList
    text_2: ScoredList

    def sides(self) -> tuple[ScoredList, ScoredList]:
        return self.text_1, self.text_2


class RerankRequest(ScoringRequest):
    """`top_n`: 0 is all."""

    query: Scored
    documents: ScoredList
    top_n: Annotated[int, Field(ge=0)] = 0

    def sides(self) -> tuple[ScoredList, ScoredList]:
        return self.query, self.documents


ScoreRequest: TypeAlias = ScoreQueriesDocumentsRequest | ScoreQueriesItemsRequest | ScoreDataRequest | ScoreTextRequest
SCORE: RequestUnion[ScoreRequest] = RequestUnion(
    Annotated[ScoreQueriesDocumentsRequest, unchanged]
    | Annotated[ScoreQueriesItemsRequest, unchanged]
    | Annotated[ScoreDataRequest, unchanged]
    | Annotated[ScoreTextRequest, unchanged],
    check_cache_salt,
)
