"""The one line that start-up prints, and what deserves a warning beside it."""

import sys

from vllm_mock.settings import Settings


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:g} ms"


def banner(settings: Settings) -> str:
    """Address, model, engine, where its times come from, and metrics mode in one line."""
    scheme = "https" if settings.ssl_certfile else "http"
    where = f"unix:{settings.uds}" if settings.uds else f"{scheme}://{settings.host or '0.0.0.0'}:{settings.port}"
    engine = _simulated(settings) if settings.simulation else _fixed(settings)
    return (
        f"vllm-mock serving {settings.served_model_name[0]} on {where} | engine {engine} | "
        f"metrics {settings.metrics_mode}"
    )


def _fixed(settings: Settings) -> str:
    return (
        f"fixed: TTFT {_milliseconds(settings.time_to_first_token)}, "
        f"prefill {settings.prefill_time_per_token * 1e6:g} us/token, "
        f"inter-token latency {_milliseconds(settings.inter_token_latency)}"
    )


def _simulated(settings: Settings) -> str:
    from vllm_mock.engine.step_time import kv_cache_tokens, step_time

    source = step_time(settings)
    pace = "" if settings.time_scale == 1 else f", time x{settings.time_scale:g}"
    return (
        f"simulated: {settings.simulation} with {settings.model}, step times {source.name} ({source.origin}), "
        f"KV cache {kv_cache_tokens(settings)} tokens{pace}"
    )


def print_banner(settings: Settings) -> None:
    """Print the start-up line to standard output, warnings and flags without effect to standard error."""
    for warning in settings.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if settings.ignored_flags:
        print(f"accepted without effect: {' '.join(settings.ignored_flags)}", file=sys.stderr)
    sys.stderr.flush()
    print(banner(settings), flush=True)
