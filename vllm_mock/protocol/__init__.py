"""What goes over the wire: request models, errors, and vLLM's order of checks.

Nothing here is imported with the package: pydantic costs tens of milliseconds, which a starting server
does not have. `warm_up()` imports and builds all of it, for a thread that runs after the start.
"""


def warm_up() -> None:
    """Imports the request models and builds their validators (about 0.3 s of CPU, once)."""
    from vllm_mock.protocol.chat import ChatCompletionRequest
    from vllm_mock.protocol.completions import CompletionRequest
    from vllm_mock.protocol.tokenize import DetokenizeRequest, TokenizeRequest

    for model in (ChatCompletionRequest, CompletionRequest, TokenizeRequest, DetokenizeRequest):
        model.model_rebuild()
