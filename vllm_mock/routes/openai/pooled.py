"""What all routes of pooling have in common: the model's name, and the way through the engine."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from vllm_mock.engine import EngineRequest
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.json_text import quote
from vllm_mock.protocol.usage import Usage
from vllm_mock.routes.openai import headers
from vllm_mock.routes.openai.runs import Scheduling, submit, wait
from vllm_mock.turns import give_way

if TYPE_CHECKING:
    from vllm_mock.lora import Adapter
    from vllm_mock.services import Services

T = TypeVar("T")


@dataclass(slots=True)
class Answered:
    """What an answer says about itself. `created` is in Unix seconds."""

    response_id: str
    model: str
    prompt_tokens: int
    created: int

    def head(self) -> str:
        """The beginning of an answer that lists one entry per prompt."""
        return (
            f'{{"id":{quote(self.response_id)},"object":"list","created":{self.created},'
            f'"model":{quote(self.model)},"data":['
        )

    def tail(self) -> str:
        return f'],"usage":{Usage(self.prompt_tokens, 0).body()}}}'


def resolve_model(services: "Services", body: Any) -> str:
    """The name to echo; raises ApiError for untrusted arguments, and vLLM's 404, which names no aliases here."""
    from vllm_mock.protocol.trust import check_media_arguments

    check_media_arguments(body, services.limits)
    model = services.models.resolve(body.model)
    if model is None:
        raise ApiError.not_found(f"The model `{body.model}` does not exist.")
    return model


def run(
    services: "Services",
    environ: dict[str, Any],
    scheduling: Scheduling,
    model: str,
    prompts: Sequence[list[int]],
    pool: Callable[[list[int]], T],
) -> tuple[Answered, list[T]]:
    """Send the prompts through the engine, and meanwhile make of each what `pool` makes of its token ids.

    `pool` should make the part of the answer: vectors as Python's numbers take eight times their size.
    Raises ApiError: 503 when a queue limit refuses them, 400 when one could never fit the KV cache.
    """
    created = int(time.time())
    adapter = services.models.adapter(model)
    requests = [_engine_request(ids, scheduling, adapter) for ids in prompts]
    handles = submit(services, requests)
    pooled: list[T] = []

    def pool_all() -> None:
        for ids, handle in zip(prompts, handles, strict=True):
            if handle.aborted:
                return
            pooled.append(pool(ids))
            give_way()

    wait(services, handles, headers.connection(environ), pool_all)
    tokens = sum(map(len, prompts))
    return Answered(scheduling.response_id, model, tokens, created), pooled


def _engine_request(ids: list[int], scheduling: Scheduling, adapter: "Adapter | None") -> EngineRequest:
    return EngineRequest(
        scheduling.response_id,
        ids,
        (0,),
        0,
        priority=scheduling.priority,
        cache_salt=scheduling.cache_salt,
        lora_name=None if adapter is None else adapter.name,
        lora_path="" if adapter is None else adapter.path,
        lora_id=None if adapter is None else adapter.id,
        arrival=scheduling.arrival,
        finish_reason="stop",
        pooling=True,
        delay=scheduling.delay,
        failure=scheduling.failure,
    )
