"""Loading and unloading LoRA adapters: vLLM's routes, SGLang's without /v1, and SageMaker's /adapters."""

from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from vllm_mock.protocol.body import parse_json
from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.json_text import compact
from vllm_mock.routes.openai import headers
from vllm_mock.routes.replies import bare_text_reply

if TYPE_CHECKING:
    from vllm_mock.protocol.lora import RegisterAdapterRequest
    from vllm_mock.services import Services


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the routes to the blueprint."""
    adapters = services.models.adapters

    def load() -> Response:
        from vllm_mock.protocol.lora import LoadLoRAAdapterRequest
        from vllm_mock.protocol.parsing import parse_request

        environ = request.environ
        body = parse_request(headers.body(environ), environ.get("CONTENT_TYPE"), LoadLoRAAdapterRequest)
        adapters.load(body.lora_name, body.lora_path, in_place=body.load_inplace)
        return bare_text_reply(f"Success: LoRA adapter '{body.lora_name}' added successfully.")

    def unload() -> Response:
        from vllm_mock.protocol.lora import UnloadLoRAAdapterRequest
        from vllm_mock.protocol.parsing import parse_request

        environ = request.environ
        body = parse_request(headers.body(environ), environ.get("CONTENT_TYPE"), UnloadLoRAAdapterRequest)
        adapters.unload(body.lora_name)
        return bare_text_reply(f"Success: LoRA adapter '{body.lora_name}' removed successfully.")

    def register_adapter() -> Response:
        body = _registration()
        adapters.load(body.name, body.src)
        return bare_text_reply(f"Adapter {body.name} registered")

    def unregister_adapter(adapter_name: str) -> Response:
        adapters.unload(adapter_name)
        return bare_text_reply(f"Adapter {adapter_name} unregistered")

    for prefix, name in (("/v1", "v1"), ("", "sglang")):
        blueprint.add_url_rule(f"{prefix}/load_lora_adapter", f"load_lora_{name}", load, methods=["POST"])
        blueprint.add_url_rule(f"{prefix}/unload_lora_adapter", f"unload_lora_{name}", unload, methods=["POST"])
    blueprint.add_url_rule("/adapters", "register_adapter", register_adapter, methods=["POST"])
    blueprint.add_url_rule("/adapters/<adapter_name>", "unregister_adapter", unregister_adapter, methods=["DELETE"])


def _registration() -> "RegisterAdapterRequest":
    """SageMaker's layer words its refusals in its own way: the errors as JSON."""
    from pydantic import ValidationError

    from vllm_mock.protocol.lora import RegisterAdapterRequest

    environ = request.environ
    data = parse_json(headers.body(environ), environ.get("CONTENT_TYPE"))
    try:
        return RegisterAdapterRequest.model_validate(data)
    except ValidationError as refused:
        raise ApiError(400, compact(refused.errors(include_url=False, include_context=False))) from None
