"""The requests of the routes that load and unload LoRA adapters."""

from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, urlencode

from pydantic import BaseModel, field_validator


class LoadLoRAAdapterRequest(BaseModel):
    """POST /v1/load_lora_adapter."""

    lora_name: str
    lora_path: str
    load_inplace: bool = False
    is_3d_lora_weight: bool = False


class UnloadLoRAAdapterRequest(BaseModel):
    """POST /v1/unload_lora_adapter."""

    lora_name: str
    lora_int_id: int | None = None


class SageMakerRegisterLoRAAdapterRequest(BaseModel):
    """SageMaker's POST /adapters; its refusals show the name of this class."""

    name: str
    src: str
    preload: bool = True
    pin: bool = False

    @field_validator("name", mode="before")
    @classmethod
    def _check_name(cls, value: object) -> object:
        return _not_empty("name", value)

    @field_validator("src", mode="before")
    @classmethod
    def _check_src(cls, value: object) -> object:
        return _not_empty("src", value)


def _not_empty(name: str, value: object) -> object:
    if value == "":
        raise ValueError(f"The parameter {name} cannot be an empty string")
    return value


class QueryFields(Mapping[str, str]):
    """The parameters of a query string, in place of a body; in an error they show as that string."""

    def __init__(self, query: str) -> None:
        self._pairs = parse_qsl(query, keep_blank_values=True)
        self._fields = dict(self._pairs)

    def __getitem__(self, name: str) -> str:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __str__(self) -> str:
        return urlencode(self._pairs)
