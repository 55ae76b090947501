"""Settings that follow from others, and combinations that cannot be."""

import socket
from collections.abc import Set
from typing import Any

from .errors import SettingsError
from .parsers import REASONING_PARSERS, TOOL_PARSERS


def resolve(values: dict[str, Any], given: Set[str]) -> None:
    """Complete `values` (all attributes) in place; `given` are those that are not defaults.

    Raises SettingsError for an impossible combination.
    """
    values["served_model_name"] = [name for name in values["served_model_name"] if name] or [values["model"]]
    values["pod_name"] = values["pod_name"] or socket.gethostname()
    values["metrics_mode"] = values["metrics_mode"] or ("live" if values["simulation"] else "mock")
    # As in vLLM, an empty key is no key.
    values["api_key"] = [key for key in values["api_key"] if key]
    _resolve_batch_limits(values, given)
    _resolve_whole_prompts(values, given)
    _check_parsers(values)
    _check_lora(values)
    _check_kv_events(values)
    if values["pd_contract"] and not values["pd_role"]:
        raise SettingsError("--pd-contract needs --pd-role (MOCK_PD_ROLE); expected prefill or decode")


def _resolve_batch_limits(values: dict[str, Any], given: Set[str]) -> None:
    """A step has room for a token of each running request: a given limit moves the other one's default."""
    requests, tokens = values["max_num_seqs"], values["max_num_batched_tokens"]
    if tokens >= requests:
        return
    if "max_num_seqs" not in given:
        values["max_num_seqs"] = tokens
    elif "max_num_batched_tokens" not in given:
        values["max_num_batched_tokens"] = requests
    else:
        raise SettingsError(
            f"--max-num-batched-tokens {tokens} is not possible; expected at least --max-num-seqs, {requests}"
        )


def _resolve_whole_prompts(values: dict[str, Any], given: Set[str]) -> None:
    """Without chunks, a step must have room for the longest prompt: it would wait forever."""
    length, tokens = values["max_model_len"], values["max_num_batched_tokens"]
    if values["enable_chunked_prefill"] or tokens >= length:
        return
    if "max_num_batched_tokens" in given:
        raise SettingsError(
            f"--max-num-batched-tokens {tokens} is not possible without chunked prefill; "
            f"expected at least --max-model-len, {length}"
        )
    values["max_num_batched_tokens"] = length


def _check_parsers(values: dict[str, Any]) -> None:
    tools, reasoning = values["tool_call_parser"], values["reasoning_parser"]
    # Without the switch vLLM does not look at the parser.
    if values["enable_auto_tool_choice"]:
        if not tools:
            raise SettingsError("--enable-auto-tool-choice requires --tool-call-parser")
        if tools not in TOOL_PARSERS and not values["tool_parser_plugin"]:
            raise SettingsError(
                f"--tool-call-parser {tools} is not possible; expected one of {', '.join(TOOL_PARSERS)}"
            )
    if reasoning and reasoning not in REASONING_PARSERS and not values["reasoning_parser_plugin"]:
        names = ", ".join(REASONING_PARSERS)
        raise SettingsError(f"--reasoning-parser {reasoning} is not possible; expected one of {names}")


def _check_lora(values: dict[str, Any]) -> None:
    loras, cpu_loras = values["max_loras"], values["max_cpu_loras"]
    if values["enable_lora"] and cpu_loras is not None and cpu_loras < loras:
        raise SettingsError(f"--max-cpu-loras {cpu_loras} is not possible; expected at least --max-loras, {loras}")


def _check_kv_events(values: dict[str, Any]) -> None:
    config = values["kv_events_config"] or {}
    if config.get("enable_kv_cache_events") and not values["enable_prefix_caching"]:
        raise SettingsError("--kv-events-config needs prefix caching, which --disable-prefix-caching turned off")
    for key in ("endpoint", "replay_endpoint"):
        endpoint = config.get(key) or "tcp://"
        if values["data_parallel_size"] > 1 and endpoint.startswith("ipc://"):
            raise SettingsError(
                f"--kv-events-config: {endpoint} has no place for a second rank; expected tcp or inproc"
            )
