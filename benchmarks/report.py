"""The measured figures as tables, beside the targets and the figures of other designs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).with_name("reference.json")
# Targets of the project: (at least or at most, value).
TARGETS: dict[str, tuple[str, float]] = {
    "tokens/s, 1000 streams": (">=", 49_500),
    "CPU us/token, 500 streams": ("<=", 16),
    "CPU us/token, 1000 streams": ("<=", 12),
    "CPU us/request": ("<=", 230),
    "first 200 of /health, s": ("<=", 0.3),
    "idle PSS, MB": ("<=", 55),
}
OURS = "this server"
BASELINE = "trivial Flask on gevent, this run"
QUIET_SHARE = 0.05

Row = Sequence[str]


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def _quantiles(values: dict[str, float | None] | None) -> str:
    if values is None:
        return "-"
    return " / ".join(_number(values[name]) for name in ("p50", "p95", "p99"))


def _aligned(rows: Sequence[Row]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * width for width in widths]
    lines = []
    for row in (rows[0], rule, *rows[1:]):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines


def _target(name: str, value: float) -> str:
    if name not in TARGETS:
        return ""
    sense, bound = TARGETS[name]
    met = value >= bound if sense == ">=" else value <= bound
    return f"{sense} {_number(bound)} {'met' if met else 'MISSED'}"


def _measured(figures: dict[str, Any]) -> dict[str, float | str]:
    """The summary's figures by their names; texts are not compared with targets."""
    found: dict[str, float | str] = {}
    for run in figures.get("streaming", ()):
        found[f"CPU us/token, {run['streams']} streams"] = run["cpu_us_per_token"]
        found[f"tokens/s, {run['streams']} streams"] = run["tokens_per_s"]
    if (run := figures.get("requests")) is not None:
        found["CPU us/request"] = run["cpu_us_per_request"]
        found["requests/s, 64 connections"] = run["requests_per_s"]
        found["latency ms p50 / p95 / p99"] = _quantiles(run["latency_ms"])
    if (run := figures.get("startup")) is not None:
        found["first 200 of /health, s"] = run["health_s"]
        found["first 200 of /ready, s"] = run["ready_s"]
    if (run := figures.get("memory")) is not None:
        found["idle PSS, MB"] = run["idle_pss_mb"]
    return found


def _prototype(reference: dict[str, Any]) -> dict[str, float | str]:
    """The same figures of the designs that this one follows."""
    streaming = [entry for entry in reference["streaming"] if entry["design"].startswith("gevent, fair")]
    found = _measured({"streaming": streaming})
    flask = next(entry for entry in reference["requests"] if entry["design"].startswith("gevent"))
    found["CPU us/request"] = flask["cpu_us_per_request"]
    found["first 200 of /health, s"] = reference["startup"]["first_200_s"]
    found["idle PSS, MB"] = reference["idle_pss_mb"]
    return found


def _summary(figures: dict[str, Any], reference: dict[str, Any]) -> list[Row]:
    baseline, prototype = _measured(figures.get("baseline", {})), _prototype(reference)
    rows: list[Row] = [("", "measured", "target", "baseline", "of it", "prototype")]
    for name, value in _measured(figures).items():
        target = "" if isinstance(value, str) else _target(name, value)
        bare = baseline.get(name, "")
        rows.append((name, _cell(value), target, _cell(bare), _share(value, bare), _cell(prototype.get(name, ""))))
    return rows


def _share(value: float | str, bare: float | str) -> str:
    """How much of the baseline's figure ours is: tells even on a machine that is slow or busy."""
    return "" if isinstance(value, str) or isinstance(bare, str) or not bare else f"{value / bare:.0%}"


def _cell(value: float | str) -> str:
    return value if isinstance(value, str) else _number(value)


def _streaming_rows(runs: Sequence[dict[str, Any]], reference: dict[str, Any]) -> list[Row]:
    entries = [*runs, *reference["streaming"]]
    entries.sort(key=lambda entry: entry["streams"])
    heading = ("design", "streams", "tokens/s", "us/token", "tokens/read", "|gap - 20 ms| p50 / p95 / p99 ms")
    rows: list[Row] = [heading]
    rows += [
        (
            entry["design"],
            str(entry["streams"]),
            _number(entry["tokens_per_s"]),
            _number(entry["cpu_us_per_token"]),
            _number(entry.get("tokens_per_read")),
            _quantiles(entry["gap_error_ms"]),
        )
        for entry in entries
    ]
    return rows


def _request_rows(runs: Sequence[dict[str, Any]], reference: dict[str, Any]) -> list[Row]:
    entries = [*runs, *reference["requests"]]
    entries.sort(key=lambda entry: entry["cpu_us_per_request"])
    rows: list[Row] = [("non-streaming requests, 64 connections", "CPU us/request")]
    rows += [(entry["design"], _number(entry["cpu_us_per_request"])) for entry in entries]
    return rows


def _scrape_rows(figures: dict[str, Any]) -> list[Row]:
    rate, streams = figures["scrapes_per_s"], figures["alone"]["streams"]
    heading = (f"{streams} streams", "|gap - 20 ms| p50 / p95 / p99 ms", "scrape p50 / p95 / p99 ms", "CPU ms/scrape")
    alone, scraped = figures["alone"], figures["scraped"]
    return [
        heading,
        ("without scrapes", _quantiles(alone["gap_error_ms"]), "", ""),
        (
            f"{rate:g} scrapes/s",
            _quantiles(scraped["gap_error_ms"]),
            _quantiles(scraped["scrape_ms"]),
            _number(figures["cpu_ms_per_scrape"]),
        ),
    ]


def _warnings(runs: Sequence[dict[str, Any]]) -> list[str]:
    lines = []
    for run in runs:
        name = f"{run['streams']} streams" if "streams" in run else "requests"
        errors, starved, others = run["errors"], run["starved_connections"], run["others_on_server_core"]
        if errors or starved:
            lines.append(f"{name}: {errors} errors, {starved} connections without an answer")
        if others > QUIET_SHARE:
            lines.append(f"{name}: others took {others:.0%} of the server's core; distrust the times")
    return lines


def table(figures: dict[str, Any]) -> str:
    """The tables that run.py prints; what was not measured is left out."""
    reference = json.loads(REFERENCE.read_text())
    parts = [_aligned(_summary(figures, reference))]
    if "scrapes" in figures:
        parts.append(_aligned(_scrape_rows(figures["scrapes"])))
    streaming, requests = _runs(figures, OURS)
    bare_streaming, bare_requests = _runs(figures.get("baseline", {}), BASELINE)
    if streaming:
        parts.append(_aligned(_streaming_rows([*streaming, *bare_streaming], reference)))
    if requests:
        parts.append(_aligned(_request_rows([*requests, *bare_requests], reference)))
    warnings = _warnings([*streaming, *requests])
    if warnings:
        parts.append(warnings)
    return "\n\n".join("\n".join(part) for part in parts)


def _runs(figures: dict[str, Any], design: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(streaming runs, request runs) of one server, with its name."""
    streaming = figures.get("streaming", [])
    requests = [figures["requests"]] if "requests" in figures else []
    return [{"design": design, **run} for run in streaming], [{"design": design, **run} for run in requests]
