"""Vectors and matrices as parts of an answer: numbers as text, in base64 or as bytes."""

import base64
import json
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from flask import Response

from vllm_mock.pooling import encoding
from vllm_mock.protocol.json_text import to_bytes
from vllm_mock.routes.openai.pooled import Answered
from vllm_mock.routes.replies import JSON, Reply

BYTES = "application/octet-stream"


@dataclass(slots=True)
class Shown:
    """The numbers of one prompt as they are sent, in one or more pieces."""

    shape: list[int]
    pieces: list[bytes]


class Form:
    """How numbers are shown: as a request's encoding_format, embed_dtype and endianness say.

    `text` shows a vector whose numbers are asked for as text.
    """

    def __init__(self, asked: Any, text: Callable[[Sequence[float]], str]) -> None:
        self.name: str = asked.encoding_format
        self.dtype: str = asked.embed_dtype
        self.endianness: str = asked.endianness
        self._text = text

    def row(self, vector: Sequence[float]) -> bytes:
        """A vector as `vector` and `matrix` take it."""
        if self.name == "float":
            return self._text(vector).encode()
        return encoding.to_bytes(vector, self.dtype, self.endianness)

    def vector(self, numbers: Sequence[float]) -> Shown:
        """One vector for a prompt."""
        row = self.row(numbers)
        return Shown([len(numbers)], [row] if self.name == "float" else self._raw([row]))

    def matrix(self, rows: Sequence[bytes], width: int) -> Shown:
        """One vector for each token, from what `row` made of them; their numbers are `width`."""
        shape = [len(rows), width]
        return Shown(shape, [b"[", *_separated(rows), b"]"] if self.name == "float" else self._raw(rows))

    def _raw(self, rows: Sequence[bytes]) -> list[bytes]:
        return [b'"', base64.b64encode(b"".join(rows)), b'"'] if self.name == "base64" else list(rows)


def tensors_reply(answered: Answered, tensors: Sequence[Shown], form: Form, name: str, key: str) -> Response:
    """The whole answer; `name` is what its entries are called, `key` that of their numbers."""
    if form.name.startswith("bytes"):
        response = Reply((piece for tensor in tensors for piece in tensor.pieces), 200, BYTES)
        if form.name == "bytes":
            response.headers["metadata"] = _metadata(answered, tensors, form)
        return response
    pieces = [to_bytes(answered.head())]
    for index, tensor in enumerate(tensors):
        comma = "," if index else ""
        pieces.append(f'{comma}{{"index":{index},"object":"{name}","{key}":'.encode())
        pieces += tensor.pieces
        pieces.append(b"}")
    pieces.append(to_bytes(answered.tail()))
    # Not joined: tens of megabytes would be copied at once, while nobody else is served.
    response = Reply(pieces, 200, JSON)
    response.headers["Content-Length"] = str(sum(map(len, pieces)))
    return response


def _separated(rows: Iterable[bytes]) -> list[bytes]:
    separated = [piece for row in rows for piece in (b",", row)]
    return separated[1:]


def _metadata(answered: Answered, tensors: Sequence[Shown], form: Form) -> str:
    data = []
    start = 0
    for index, tensor in enumerate(tensors):
        end = start + sum(map(len, tensor.pieces))
        data.append(
            {
                "index": index,
                "embed_dtype": form.dtype,
                "endianness": form.endianness,
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


def short_numbers(vector: Sequence[float]) -> str:
    """A vector with as many digits as 32-bit numbers have."""
    numbers = array("f", vector)
    if len(numbers) == 1:  # 1 or -1, which the format would show as an integer
        return f"[{numbers[0]}]"
    return _format(len(numbers)) % tuple(numbers)


@lru_cache(maxsize=4)
def _format(count: int) -> str:
    return f"[{','.join(['%.9g'] * count)}]"


def long_numbers(vector: Sequence[float]) -> str:
    """A vector of 32-bit numbers, shown with the digits of the 64-bit numbers equal to them."""
    return repr(array("f", vector).tolist()).replace(" ", "")
