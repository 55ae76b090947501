"""The OpenAPI 3.1 document: the routes as they are served, the bodies as the request models read them."""

import importlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from vllm_mock.version import VLLM_VERSION

JSON, FORM = "application/json", "multipart/form-data"
_REF = "#/components/schemas/{model}"
_VARIABLE = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")

# The request model of each path: module and name in vllm_mock.protocol.
BODIES = {
    "/v1/chat/completions": "chat:ChatCompletionRequest",
    "/v1/chat/completions/batch": "batch:BatchChatCompletionRequest",
    "/v1/chat/completions/render": "chat:ChatCompletionRequest",
    "/v1/chat/completions/derender": "scale_out.requests:DerenderChat",
    "/v1/completions": "completions:CompletionRequest",
    "/v1/completions/render": "completions:CompletionRequest",
    "/v1/completions/derender": "scale_out.requests:DerenderCompletion",
    "/v1/responses": "responses:ResponsesRequest",
    "/v1/responses/render": "responses:ResponsesRequest",
    "/v1/messages": "anthropic.request:AnthropicMessagesRequest",
    "/v1/messages/render": "anthropic.request:AnthropicMessagesRequest",
    "/v1/messages/count_tokens": "anthropic.request:AnthropicCountTokensRequest",
    "/inference/v1/generate": "scale_out.requests:GenerateRequest",
    "/generative_scoring": "generative_scoring:GenerativeScoringRequest",
    "/v1/systemone": "decisions:StructuredDecisionRequest",
    "/v1/decisions": "decisions:DecisionRequest",
    "/v1/embeddings": "pooling:EMBEDDING",
    "/v2/embed": "cohere:CohereEmbedRequest",
    "/pooling": "pooling:POOLING",
    "/classify": "pooling:CLASSIFICATION",
    "/v1/classify": "pooling:CLASSIFICATION",
    **dict.fromkeys(("/score", "/v1/score"), "scoring:SCORE"),
    **dict.fromkeys(("/rerank", "/v1/rerank", "/v2/rerank"), "scoring:RerankRequest"),
    "/v1/images/generations": "media:ImageRequest",
    "/v1/videos": "media:VideoRequest",
    "/v1/videos/sync": "media:VideoRequest",
    "/v1/video/generations": "media:VideoGenerationRequest",
    "/v1/audio/speech": "media:SpeechRequest",
    "/tokenize": "tokenize:TokenizeRequest",
    "/detokenize": "tokenize:DetokenizeRequest",
    **dict.fromkeys(("/v1/load_lora_adapter", "/load_lora_adapter"), "lora:LoadLoRAAdapterRequest"),
    **dict.fromkeys(("/v1/unload_lora_adapter", "/unload_lora_adapter"), "lora:UnloadLoRAAdapterRequest"),
}
# Those that come as forms.
FORMS = {
    "/v1/images/edits": "media:ImageRequest",
    "/v1/audio/transcriptions": "speech_to_text:TranscriptionRequest",
    "/v1/audio/translations": "speech_to_text:TranslationRequest",
}
# The models of query strings.
QUERIES = {
    "/sleep": "control:SleepQuery",
    "/pause": "control:PauseQuery",
    "/reset_prefix_cache": "control:ResetQuery",
    "/get_world_size": "control:WorldSizeQuery",
    "/server_info": "control:ServerInfoQuery",
    "/v1/responses/{response_id}": "responses:RetrieveQuery",
}
# The beginning of the paths whose errors have Anthropic's shape.
_ANTHROPIC = "/v1/messages"

_TEXT, _NULLABLE = {"type": "string"}, {"anyOf": [{"type": "string"}, {"type": "null"}]}
_ERRORS: dict[str, Any] = {
    "ErrorResponse": {
        "type": "object",
        "title": "ErrorResponse",
        "required": ["error"],
        "properties": {"error": {"$ref": _REF.format(model="ErrorInfo")}},
    },
    "ErrorInfo": {
        "type": "object",
        "title": "ErrorInfo",
        "required": ["message", "type", "code"],
        "properties": {
            "message": _TEXT,
            "type": _TEXT,
            "param": _NULLABLE,
            "code": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        },
    },
    "AnthropicErrorResponse": {
        "type": "object",
        "title": "AnthropicErrorResponse",
        "required": ["error"],
        "properties": {
            "type": {"const": "error", "type": "string"},
            "error": {
                "type": "object",
                "required": ["type", "message"],
                "properties": {"type": _TEXT, "message": _TEXT},
            },
        },
    },
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `path` is a rule of the router; `name` is the view's."""

    path: str
    method: str
    name: str


class _Generator(GenerateJsonSchema):
    """What has no JSON form is left open; a default that has none is left out."""

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
        return {}

    def emit_warning(self, kind: Any, detail: str) -> None:
        pass


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """The whole document. Imports and builds every request model: about a second of CPU."""
    schemas, definitions = _schemas()
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = _VARIABLE.sub(r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, path, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "vLLM, mocked", "version": VLLM_VERSION},
        "paths": paths,
        "components": {"schemas": definitions | _ERRORS},
    }


def _schemas() -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of each model by its name in the tables, and the definitions that they refer to."""
    names = list(dict.fromkeys([*BODIES.values(), *FORMS.values(), *QUERIES.values()]))
    inputs = [(name, "validation", _adapter(name)) for name in names]
    found, shared = TypeAdapter.json_schemas(inputs, ref_template=_REF, schema_generator=_Generator)  # type: ignore[arg-type]
    return {name: schema for (name, _), schema in found.items()}, shared.get("$defs", {})


def _adapter(name: str) -> TypeAdapter[Any]:
    module, _, attribute = name.partition(":")
    model = getattr(importlib.import_module(f"vllm_mock.protocol.{module}"), attribute)
    adapter: TypeAdapter[Any] = getattr(model, "adapter", None) or TypeAdapter(model)
    adapter.rebuild()
    return adapter


def _operation(operation: Operation, path: str, schemas: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.name.replace("_", " ").strip().title(),
        "operationId": re.sub(r"\W", "_", f"{operation.name}{path}_{operation.method.lower()}"),
    }
    parameters = [_parameter(name, "path", {"type": "string"}, True) for name in re.findall(r"{(\w+)}", path)]
    if operation.method != "DELETE" and path in QUERIES:
        properties = _properties(QUERIES[path])
        parameters += [_parameter(name, "query", schema, False) for name, schema in properties.items()]
    if parameters:
        described["parameters"] = parameters
    if operation.method == "POST":
        for table, media_type in ((BODIES, JSON), (FORMS, FORM)):
            if path in table:
                content = {media_type: {"schema": schemas[table[path]]}}
                described["requestBody"] = {"required": True, "content": content}
    described["responses"] = _responses(path, "requestBody" in described)
    return described


def _properties(name: str) -> dict[str, Any]:
    """The properties of a query's model."""
    properties: dict[str, Any] = _adapter(name).json_schema(schema_generator=_Generator)["properties"]
    return properties


def _parameter(name: str, place: str, schema: dict[str, Any], required: bool) -> dict[str, Any]:
    return {"name": name, "in": place, "required": required, "schema": schema}


def _responses(path: str, refuses: bool) -> dict[str, Any]:
    answers: dict[str, Any] = {"200": {"description": "Successful Response", "content": {JSON: {"schema": {}}}}}
    if not refuses:
        return answers
    model = "AnthropicErrorResponse" if path.startswith(_ANTHROPIC) else "ErrorResponse"
    shape: dict[str, Any] = {"$ref": _REF.format(model=model)}
    if model != "ErrorResponse":  # faults of the fields keep OpenAI's shape
        shape = {"anyOf": [shape, {"$ref": _REF.format(model="ErrorResponse")}]}
    for status, text in (("400", "Bad Request"), ("404", "Not Found"), ("503", "Service Unavailable")):
        answers[status] = {"description": text, "content": {JSON: {"schema": shape}}}
    return answers
