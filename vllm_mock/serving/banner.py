"""The one line that start-up prints, and what deserves a warning beside it."""

import sys

from vllm_mock.settings import Settings


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:g} ms"


def banner(settings: Settings) -> str:
    """Address, model, engine, latencies and metrics mode in one line."""
    scheme = "https" if settings.ssl_certfile else "http"
    where = f"unix:{settings.uds}" if settings.uds else f"{scheme}://{settings.host or '0.0.0.0'}:{settings.port}"
    return (
        f"vllm-mock serving {settings.served_model_name[0]} on {where} | engine fixed: "
        f"TTFT {_milliseconds(settings.time_to_first_token)}, "
        f"prefill {settings.prefill_time_per_token * 1e6:g} us/token, "
        f"inter-token latency {_milliseconds(settings.inter_token_latency)} | metrics {settings.metrics_mode}"
    )


def print_banner(settings: Settings) -> None:
    """Print the start-up line to standard output, warnings and flags without effect to standard error."""
    for warning in settings.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if settings.simulation:
        print(
            f"warning: SIMULATION={settings.simulation}: there is no simulator yet, latencies are the fixed ones",
            file=sys.stderr,
        )
    if settings.ignored_flags:
        print(f"accepted without effect: {' '.join(settings.ignored_flags)}", file=sys.stderr)
    sys.stderr.flush()
    print(banner(settings), flush=True)
