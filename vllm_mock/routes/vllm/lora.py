"""Loading and unloading LoRA adapters: vLLM's routes, SGLang's without /v1, and SageMaker's /adapters."""

import json
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from vllm_mock.protocol.errors import ApiError
from vllm_mock.routes.openai import headers
from vllm_mock.routes.replies import bare_text_reply

if TYPE_CHECKING:
    from vllm_mock.protocol.lora import SageMakerRegisterLoRAAdapterRequest
    from vllm_mock.services import Services


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint."""
    adapters = services.models.adapters

    def load() -> Response:
        from vllm_mock.protocol.lora import LoadLoRAAdapterRequest

        body = headers.read(request.environ, LoadLoRAAdapterRequest)
        return bare_text_reply(adapters.load(body.lora_name, body.lora_path, in_place=body.load_inplace))

    def unload() -> Response:
        from vllm_mock.protocol.lora import UnloadLoRAAdapterRequest

        body = headers.read(request.environ, UnloadLoRAAdapterRequest)
        adapters.unload(body.lora_name)
        return bare_text_reply(f"Success: LoRA adapter '{body.lora_name}' removed successfully.")

    def register_adapter() -> Response:
        body = _registration()
        adapters.load(body.name, body.src)
        return bare_text_reply(f"Adapter {_alias() or body.name} registered")

    def unregister_adapter(adapter_name: str) -> Response:
        adapters.unload(adapter_name)
        return bare_text_reply(f"Adapter {_alias() or adapter_name} unregistered")

    for prefix, name in (("/v1", "v1"), ("", "sglang")):
        blueprint.add_url_rule(f"{prefix}/load_lora_adapter", f"load_lora_{name}", load, methods=["POST"])
        blueprint.add_url_rule(f"{prefix}/unload_lora_adapter", f"unload_lora_{name}", unload, methods=["POST"])
    blueprint.add_url_rule("/adapters", "register_adapter", register_adapter, methods=["POST"])
    blueprint.add_url_rule("/adapters/<adapter_name>", "unregister_adapter", unregister_adapter, methods=["DELETE"])


def _alias() -> str | None:
    """How SageMaker's caller wants to see the adapter named."""
    return request.environ.get("HTTP_X_AMZN_SAGEMAKER_ADAPTER_ALIAS")


def _registration() -> "SageMakerRegisterLoRAAdapterRequest":
    """SageMaker's layer takes any media type, or the query, and words its refusals in its own way."""
    from pydantic import ValidationError

    from vllm_mock.protocol.lora import QueryFields, SageMakerRegisterLoRAAdapterRequest

    environ = request.environ
    fields: Any
    try:
        fields = json.loads(headers.body(environ))
    except json.JSONDecodeError:
        fields = QueryFields(environ.get("QUERY_STRING", ""))
    except (ValueError, RecursionError) as unreadable:
        raise ApiError.bad_request(str(unreadable)) from None
    try:
        return SageMakerRegisterLoRAAdapterRequest.model_validate(fields)
    except ValidationError as refused:
        raise ApiError(400, refused.json(include_url=False)) from None
