"""What all routes of pooling have in common: the model's name, the way through the engine, vectors as answers."""

import base64
import json
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from flask import Response

from vllm_mock.engine import EngineRequest
from vllm_mock.pooling import encoding
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.json_text import quote
from vllm_mock.protocol.usage import Usage
from vllm_mock.routes.openai import headers
from vllm_mock.routes.openai.runs import Scheduling, submit, wait
from vllm_mock.routes.replies import Reply, json_reply

if TYPE_CHECKING:
    from vllm_mock.lora import Adapter
    from vllm_mock.services import Services

T = TypeVar("T")

BYTES = "application/octet-stream"


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


def resolve_model(services: "Services", requested: str | None) -> str:
    """The name to echo; raises vLLM's 404, which names no aliases here."""
    model = services.models.resolve(requested)
    if model is None:
        raise ApiError.not_found(f"The model `{requested}` does not exist.")
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
            time.sleep(0)  # each takes a millisecond: let others go on

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
    )


# ---- Vectors and matrices as answers


@dataclass(slots=True)
class Tensor:
    """The numbers of one prompt: a vector, or one vector for each token (`rows` is their number)."""

    numbers: list[float]
    rows: int | None = None

    @property
    def shape(self) -> list[int]:
        return [len(self.numbers)] if self.rows is None else [self.rows, len(self.numbers) // self.rows]


@dataclass(slots=True)
class Entry:
    """How an entry of the answer is called, and the key of its numbers."""

    name: str
    key: str
    shown: Callable[[Tensor], str]


def tensors_reply(answered: Answered, tensors: Sequence[Tensor], entry: Entry, asked: Any) -> Response:
    """The answer in the form that the request's encoding_format, embed_dtype and endianness ask for."""
    form, dtype, endianness = asked.encoding_format, asked.embed_dtype, asked.endianness
    if form.startswith("bytes"):
        chunks = (encoding.to_bytes(tensor.numbers, dtype, endianness) for tensor in tensors)
        response = Reply(chunks, 200, BYTES)
        if form == "bytes":
            response.headers["metadata"] = _metadata(answered, tensors, dtype, endianness)
        return response
    if form == "float":
        shown = (entry.shown(tensor) for tensor in tensors)
    else:
        shown = (quote(as_base64(tensor.numbers, dtype, endianness)) for tensor in tensors)
    entries = (f'{{"index":{index},"object":"{entry.name}","{entry.key}":{text}}}' for index, text in enumerate(shown))
    return json_reply(f"{answered.head()}{','.join(entries)}{answered.tail()}")


def _metadata(answered: Answered, tensors: Sequence[Tensor], dtype: str, endianness: str) -> str:
    data = []
    start = 0
    for index, tensor in enumerate(tensors):
        end = start + len(tensor.numbers) * encoding.SIZES[dtype]
        data.append(
            {
                "index": index,
                "embed_dtype": dtype,
                "endianness": endianness,
                "start": start,
                "end": end,
                "shape": tensor.shape,
            }
        )
        start = end
    return json.dumps(
        {
            "id": answered.response_id,
            "created": answered.created,
            "model": answered.model,
            "data": data,
            "usage": {"prompt_tokens": answered.prompt_tokens, "total_tokens": answered.prompt_tokens},
        }
    )


def as_base64(numbers: Sequence[float], dtype: str = "float32", endianness: str = "native") -> str:
    """The numbers' bytes in base64."""
    return base64.b64encode(encoding.to_bytes(numbers, dtype, endianness)).decode()


def short_numbers(tensor: Tensor) -> str:
    """A vector with as many digits as 32-bit numbers have."""
    numbers = array("f", tensor.numbers)
    if len(numbers) == 1:  # 1 or -1, which the format would show as an integer
        return f"[{numbers[0]}]"
    return _format(len(numbers)) % tuple(numbers)


@lru_cache(maxsize=4)
def _format(count: int) -> str:
    return f"[{','.join(['%.9g'] * count)}]"


def long_numbers(tensor: Tensor) -> str:
    """A vector or matrix of 32-bit numbers, shown with the digits of the 64-bit numbers equal to them."""
    if tensor.rows is None:
        return list_text(tensor.numbers)
    width = tensor.shape[1]
    starts = range(0, len(tensor.numbers), width)
    return f"[{','.join(list_text(tensor.numbers[start : start + width]) for start in starts)}]"


def list_text(numbers: Sequence[float]) -> str:
    """As `long_numbers`."""
    return repr(array("f", numbers).tolist()).replace(" ", "")
