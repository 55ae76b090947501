"""The request of /v2/embed, in Cohere's form."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from vllm_mock.protocol.common import Int64

_IGNORING = ConfigDict(defer_build=True)


class CohereEmbedContent(BaseModel):
    model_config = _IGNORING

    type: Literal["text", "image_url"]
    text: str | None = None
    image_url: dict[str, str] | None = None

    @model_validator(mode="after")
    def _has_what_its_type_says(self) -> "CohereEmbedContent":
        if self.type == "text" and self.text is None:
            raise ValueError("CohereEmbedContent with type='text' requires text")
        if self.type == "image_url" and not (self.image_url and self.image_url.get("url")):
            raise ValueError("CohereEmbedContent with type='image_url' requires image_url.url")
        return self


class CohereEmbedInput(BaseModel):
    model_config = _IGNORING

    content: list[CohereEmbedContent]


class CohereEmbedRequest(BaseModel):
    """`max_tokens` bounds each input; `truncate` tells which end is cut, or that none is."""

    model_config = _IGNORING

    model: str | None = None
    input_type: str | None = None
    texts: list[str] | None = None
    images: list[str] | None = None
    inputs: list[CohereEmbedInput] | None = None
    output_dimension: int | None = None
    embedding_types: list[Literal["float", "binary", "ubinary", "base64"]] | None = None
    truncate: Literal["NONE", "START", "END"] = "END"
    max_tokens: int | None = None
    priority: Int64 = 0

    @model_validator(mode="after")
    def _has_one_kind_of_input(self) -> "CohereEmbedRequest":
        given = [value for value in (self.texts, self.images, self.inputs) if value is not None]
        if len(given) != 1 or not given[0]:
            raise ValueError("Exactly one of texts, images, or inputs must be provided, and it must be non-empty")
        return self
