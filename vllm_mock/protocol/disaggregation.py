"""What a request says of prefill and decode on different servers, in the dialects of vLLM, TensorRT-LLM and AIBrix.

SGLang's bootstrap_host, bootstrap_port and bootstrap_room are accepted as any unknown field is: both of its servers
get the same request at the same time and agree between themselves.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Disaggregation:
    """A request's part in a division of work between servers.

    loads_kv: the prompt's KV cache comes from a peer. hands_over_kv: a peer is to go on, and must be told where the
    KV cache is. cached_at_peer: prompt tokens that the peer found in its cache. context: TensorRT-LLM's
    disaggregated_params of a prefill.
    """

    loads_kv: bool = False
    hands_over_kv: bool = False
    cached_at_peer: int | None = None
    context: dict[str, Any] | None = None


NONE = Disaggregation()


def disaggregation(request: Any) -> Disaggregation:
    """What a validated request says."""
    params = getattr(request, "kv_transfer_params", None) or {}
    unknown = request.model_extra or {}
    if not params and not unknown:
        return NONE
    loads = bool(params.get("do_remote_prefill"))
    cached = params.get("remote_prefill_cached_tokens") if loads else None
    tensorrt = unknown.get("disaggregated_params")
    role = tensorrt.get("request_type") if isinstance(tensorrt, dict) else None
    return Disaggregation(
        # AIBrix wraps the whole answer of a prefill for its Neuron pods.
        loads_kv=loads or role == "generation_only" or isinstance(unknown.get("disagg_prefill_resp"), dict),
        hands_over_kv=bool(params.get("do_remote_decode")),
        cached_at_peer=cached if isinstance(cached, int) else None,
        context=tensorrt if role == "context_only" else None,
    )
