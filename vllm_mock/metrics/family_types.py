"""Which families there are, for whoever wants to set one: types by printed name."""

from vllm_mock.metrics.cache_config import CACHE_CONFIG
from vllm_mock.metrics.catalogue import (
    DROPPED,
    KV_FETCH,
    KV_RESIDENCY,
    LEGACY_FAMILIES,
    SIMULATION_INFO,
    SIMULATOR_LAG,
    STREAM_LAG,
    TOOL_CALL_PARSER,
    VLLM_FAMILIES,
)
from vllm_mock.metrics.engine_families import ENGINES
from vllm_mock.metrics.http import COARSE, FINE

_OUR_OWN = (DROPPED, STREAM_LAG, SIMULATOR_LAG, SIMULATION_INFO)
_OTHERS = {
    CACHE_CONFIG: "gauge",
    "vllm:lora_requests_info": "gauge",
    "http_requests_total": "counter",
    FINE: "histogram",
    COARSE: "histogram",
}


def family_types(engine: str) -> dict[str, str]:
    """All families of vLLM, those of another engine where it is one, and those of the HTTP server."""
    families = (*VLLM_FAMILIES, TOOL_CALL_PARSER, KV_FETCH, *KV_RESIDENCY, *LEGACY_FAMILIES, *_OUR_OWN)
    vllm = {family.name + ("_total" if family.type == "counter" else ""): family.type for family in families}
    return vllm | {family.name: family.type for family in ENGINES.get(engine, ())} | _OTHERS
