"""Settings with an inner structure: LoRA modules, KV transfer, KV events, histogram buckets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .errors import Refused
from .kinds import Kind, json_object, parse_json

KV_ROLES = ("kv_producer", "kv_consumer", "kv_both")
KV_CONNECTORS = (
    *("ExampleConnector", "ExampleHiddenStatesConnector", "LMCacheConnectorV1", "LMCacheMPConnector"),
    *("NixlConnector", "NixlPullConnector", "NixlPushConnector", "MultiConnector", "HiSparseConnector"),
    *("MoRIIOConnector", "OffloadingConnector", "DecodeBenchConnector", "MooncakeConnector"),
    *("MooncakeStoreConnector", "FlexKVConnectorV1", "SimpleCPUOffloadConnector", "HF3FSKVConnector"),
)
_KV_TRANSFER_KEYS: dict[str, tuple[type, ...]] = {
    "kv_connector": (str, type(None)),
    "engine_id": (str, type(None)),
    "kv_buffer_device": (str,),
    "kv_role": (str, type(None)),
    "kv_port": (int,),
    "kv_connector_extra_config": (dict,),
    "kv_connector_module_path": (str, type(None)),
    "enable_permute_local_kv": (bool,),
    "kv_load_failure_policy": (str,),
}
_KV_EVENTS_KEYS: dict[str, tuple[type, ...]] = {
    "enable_kv_cache_events": (bool,),
    "publisher": (str, type(None)),
    "endpoint": (str,),
    "replay_endpoint": (str, type(None)),
    "buffer_steps": (int,),
    "hwm": (int,),
    "max_queue_size": (int,),
    "topic": (str,),
}
STRUCTURED_OUTPUT_BACKENDS = ("auto", "xgrammar", "guidance", "outlines", "lm-format-enforcer")
_STRUCTURED_OUTPUTS_KEYS: dict[str, tuple[type, ...]] = {
    "backend": (str,),
    "disable_any_whitespace": (bool,),
    "disable_additional_properties": (bool,),
    "reasoning_parser": (str,),
    "reasoning_parser_plugin": (str,),
    "enable_in_reasoning": (bool,),
}


@dataclass(frozen=True, slots=True)
class LoRAModule:
    """An adapter that is loaded at start; the fields are vLLM's."""

    name: str
    path: str
    base_model_name: str | None = None
    is_3d_lora_weight: bool = False


def _lora_module(fields: Any) -> LoRAModule:
    if not isinstance(fields, dict):
        raise Refused("a module in JSON is an object with name and path")
    try:
        module = LoRAModule(**fields)
    except TypeError:
        allowed = ", ".join(LoRAModule.__dataclass_fields__)
        raise Refused(f"a module has name and path; its possible keys are {allowed}") from None
    if not isinstance(module.name, str) or not isinstance(module.path, str):
        raise Refused("name and path are strings")
    return module


def _lora_modules(word: str) -> list[LoRAModule]:
    if word in ("", "None"):
        return []
    if word.lstrip().startswith(("{", "[")):
        value = parse_json(word)
        return [_lora_module(fields) for fields in (value if isinstance(value, list) else [value])]
    name, equals, path = word.partition("=")
    if not equals:
        raise ValueError
    return [LoRAModule(name, path)]


def _convert_lora_modules(words: Sequence[str]) -> list[LoRAModule]:
    return [module for word in words for module in _lora_modules(word)]


LORA_MODULES = Kind(
    _convert_lora_modules, "name=path, or JSON with name and path", "NAME=PATH", takes="many", is_json=True
)


def _check_keys(value: dict[str, Any], keys: dict[str, tuple[type, ...]]) -> None:
    for key, item in value.items():
        if key not in keys:
            raise Refused(f"unknown key {key!r}, the keys are {', '.join(keys)}")
        if type(item) not in keys[key]:
            names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in keys[key])
            raise Refused(f"{key} must be {names}")


def _check_kv_transfer(value: dict[str, Any]) -> None:
    _check_keys(value, _KV_TRANSFER_KEYS)
    role = value.get("kv_role")
    if role is not None and role not in KV_ROLES:
        raise Refused(f"kv_role must be one of {', '.join(KV_ROLES)}")
    if value.get("kv_load_failure_policy", "fail") not in ("recompute", "fail"):
        raise Refused("kv_load_failure_policy must be recompute or fail")
    connector = value.get("kv_connector")
    if connector is not None and role is None:
        raise Refused(f"kv_connector needs a kv_role, one of {', '.join(KV_ROLES)}")
    if connector is not None and connector not in KV_CONNECTORS and not value.get("kv_connector_module_path"):
        raise Refused(f"kv_connector must be one of {', '.join(KV_CONNECTORS)}, or have a kv_connector_module_path")


def _check_kv_events(value: dict[str, Any]) -> None:
    _check_keys(value, _KV_EVENTS_KEYS)
    if value.get("publisher") not in (None, "null", "zmq"):
        raise Refused("publisher must be null or zmq")
    for key in ("buffer_steps", "hwm", "max_queue_size"):
        if value.get(key, 0) < 0:
            raise Refused(f"{key} must be 0 or more")
    for key in ("endpoint", "replay_endpoint"):
        _check_zmq_endpoint(key, value.get(key) or "ipc://")


def _check_zmq_endpoint(key: str, endpoint: str) -> None:
    if not endpoint.startswith(("tcp://", "ipc://", "inproc://")):
        raise Refused(f"{key} must begin with tcp://, ipc:// or inproc://")
    port = endpoint.rpartition(":")[2]
    if endpoint.startswith("tcp://") and port != "*" and not (port.isdecimal() and int(port) < 65536):
        raise Refused(f"{key} must end with a port, 0 to 65535")


def _check_buckets(value: dict[str, Any]) -> None:
    for family, bounds in value.items():
        numbers = isinstance(bounds, list) and all(type(bound) in (int, float) for bound in bounds)
        if not numbers or not bounds or sorted(set(bounds)) != bounds:
            raise Refused(f"the buckets of {family} must be a list of ascending numbers")


def _check_generation_defaults(value: dict[str, Any]) -> None:
    """Any key may be there, as in a model's generation_config.json; those that act must be possible."""
    temperature, tokens = value.get("temperature"), value.get("max_new_tokens")
    if temperature is not None and (type(temperature) not in (int, float) or not 0 <= temperature <= 2):
        raise Refused("temperature must be a number from 0 to 2")
    if tokens is not None and (type(tokens) is not int or tokens < 1):
        raise Refused("max_new_tokens must be a whole number of at least 1")


def _check_structured_outputs(value: dict[str, Any]) -> None:
    _check_keys(value, _STRUCTURED_OUTPUTS_KEYS)
    backend = value.get("backend", "auto")
    if backend not in STRUCTURED_OUTPUT_BACKENDS:
        raise Refused(f"backend must be one of {', '.join(STRUCTURED_OUTPUT_BACKENDS)}")
    if value.get("disable_any_whitespace") and backend not in ("xgrammar", "guidance"):
        raise Refused("disable_any_whitespace is only supported for xgrammar and guidance backends.")
    if value.get("disable_additional_properties") and backend != "guidance":
        raise Refused("disable_additional_properties is only supported for the guidance backend.")


KV_TRANSFER = json_object(_check_kv_transfer)
KV_EVENTS = json_object(_check_kv_events)
HISTOGRAM_BUCKETS = json_object(_check_buckets)
GENERATION_DEFAULTS = json_object(_check_generation_defaults)
STRUCTURED_OUTPUTS = json_object(_check_structured_outputs)
