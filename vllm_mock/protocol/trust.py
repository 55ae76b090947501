"""What a client may not send unless the server's flags trust it. All raise ApiError."""

from typing import TYPE_CHECKING, Any

from vllm_mock.protocol.errors import ApiError
from vllm_mock.protocol.limits import Limits

if TYPE_CHECKING:
    from vllm_mock.protocol.chat_template import ChatRequest


def check_chat_template(request: "ChatRequest", limits: Limits) -> None:
    """Refuses a template of the client (--trust-request-chat-template allows it)."""
    if limits.trust_request_chat_template:
        return
    extra = request.chat_template_kwargs
    if request.chat_template is not None or (extra and extra.get("chat_template") is not None):
        raise ApiError.bad_request(
            "Chat template is passed with request, but --trust-request-chat-template is not set. "
            "Refused request with untrusted chat template."
        )


def check_media_arguments(request: Any, limits: Limits) -> None:
    """Refuses arguments for media processors, even as unknown fields (--trust-request-mm-kwargs allows them)."""
    if not limits.trust_request_mm_kwargs:
        _refuse(request, "mm_processor_kwargs", "preprocessing")
        _refuse(request, "media_io_kwargs", "media loading")


def _refuse(request: Any, name: str, what: str) -> None:
    if getattr(request, name, None):
        text = (
            f"Per-request {name} are disabled by default because they can change multimodal {what} resource "
            "usage. Start the server with --trust-request-mm-kwargs only when clients are trusted."
        )
        raise ApiError.bad_request(text, name)
