"""The requests of the routes that load and unload LoRA adapters."""

from typing import Annotated

from pydantic import BaseModel, Field

from vllm_mock.protocol.common import INT64_MAX


class LoadLoRAAdapterRequest(BaseModel):
    """POST /v1/load_lora_adapter."""

    lora_name: str
    lora_path: str
    load_inplace: bool = False
    is_3d_lora_weight: bool = False


class UnloadLoRAAdapterRequest(BaseModel):
    """POST /v1/unload_lora_adapter."""

    lora_name: str
    lora_int_id: Annotated[int, Field(le=INT64_MAX)] | None = None


class RegisterAdapterRequest(BaseModel):
    """SageMaker's POST /adapters."""

    name: str
    src: str
    preload: bool = True
    pin: bool = False
