"""POST /invocations, SageMaker's only route: the body tells which API it is for."""

import json
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, current_app, request

from vllm_mock.protocol.errors import ApiError, plain_validation_error
from vllm_mock.protocol.json_text import compact, to_bytes
from vllm_mock.routes.openai import headers

if TYPE_CHECKING:
    from vllm_mock.services import Services

# What only a request of another task has, in the order in which vLLM tries the tasks of a pooling model.
_POOLING: tuple[tuple[tuple[str, ...], str], ...] = (
    (("input",), "embeddings"),
    (("documents", "query"), "/rerank"),
    (("text_1", "text_2"), "/score"),
    (("queries",), "/score"),
    (("data_1", "data_2"), "/score"),
)
_ADAPTER_HEADER = "HTTP_X_AMZN_SAGEMAKER_ADAPTER_IDENTIFIER"


def register(blueprint: Blueprint, services: "Services") -> None:
    """Add the route to the blueprint."""

    def invocations() -> Response:
        environ = request.environ
        data = _decoded(environ)
        adapter = environ.get(_ADAPTER_HEADER)
        # One server, one model: only an adapter is chosen by name.
        data["model"] = adapter or services.settings.served_model_name[0]
        pooling = _pooling_endpoint(data)
        if pooling is not None:
            try:
                return _answer(environ, data, pooling)
            except ApiError as error:
                if error.type != "Bad Request":
                    raise
        return _answer(environ, data, _endpoint(data))

    blueprint.add_url_rule("/invocations", "invocations", invocations, methods=["POST"])


def _answer(environ: dict[str, Any], data: dict[str, Any], endpoint: str) -> Response:
    """What another view answers to the same body."""
    body = to_bytes(compact(data))
    headers.replace_body(environ, body)
    environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"] = "application/json", str(len(body))
    view: Any = current_app.view_functions[f"openai.{endpoint}"]
    return view()


def _decoded(environ: dict[str, Any]) -> dict[str, Any]:
    """The body; raises ApiError in the words of vLLM, which lets Python complain of what is no object."""
    media_type = environ.get("CONTENT_TYPE", "").partition(";")[0].lower()
    if media_type != "application/json":
        raise plain_validation_error("Unsupported Media Type: Only 'application/json' is allowed")
    try:
        data = json.loads(headers.body(environ))
    except json.JSONDecodeError as e:
        raise ApiError(400, f"JSON decode error: {e}") from None
    except (ValueError, RecursionError) as e:
        raise ApiError.bad_request(str(e)) from None
    if isinstance(data, dict):
        return data
    if isinstance(data, list):
        raise ApiError.bad_request("list indices must be integers or slices, not str")
    if isinstance(data, str):
        raise ApiError.bad_request("'str' object does not support item assignment")
    raise ApiError.bad_request(f"argument of type '{type(data).__name__}' is not iterable")


def _pooling_endpoint(data: dict[str, Any]) -> str | None:
    """The view for a request of another task than text generation."""
    if "messages" in data or "prompt" in data:
        return None
    return next((endpoint for names, endpoint in _POOLING if all(data.get(name) for name in names)), None)


def _endpoint(data: dict[str, Any]) -> str:
    """The view for the first request model that takes the body.

    A body that breaks a rule of vLLM's own ends the search with that refusal. Raises ApiError.
    """
    from vllm_mock.protocol.chat import ChatCompletionRequest
    from vllm_mock.protocol.completions import CompletionRequest
    from vllm_mock.protocol.parsing import validate

    models: tuple[tuple[Any, str], ...] = ((ChatCompletionRequest, "chat"), (CompletionRequest, "completions"))
    for model, endpoint in models:
        try:
            # A check may change what it looks at.
            validate(json.loads(json.dumps(data)), model)
        except ApiError as error:
            if error.type != "Bad Request":
                raise
        else:
            return endpoint
    tried = [model.__name__ for model, _ in models]
    raise ApiError.bad_request(f"Cannot find suitable handler for request. Expected one of: {tried}")
