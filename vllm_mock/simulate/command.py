"""`python -m vllm_mock.simulate TRACE`: a trace of requests through the simulator, in virtual time."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from vllm_mock.engine.sizing import sized
from vllm_mock.engine.step_time import step_time
from vllm_mock.settings import Settings, SettingsError, load
from vllm_mock.simulate.files import write_results
from vllm_mock.simulate.results import RequestResult
from vllm_mock.simulate.run import simulate
from vllm_mock.simulate.summary import readable, summary
from vllm_mock.simulate.timeline import Timeline
from vllm_mock.simulate.trace import TraceError, TraceRequest, read_trace

BAD = 2


def main(argv: Sequence[str]) -> int:
    """Returns the exit code: 0, or 2 after one line on standard error that says what is wrong."""
    options, rest = _parser().parse_known_args(argv[1:])
    if not argv or argv[0].startswith("-"):
        _parser().print_help()
        return 0 if argv and argv[0] in ("-h", "--help") else BAD
    try:
        settings = _settings(rest)
        requests = _read(argv[0])
        source = step_time(settings)
        folder = Path(options.output or f"{Path(argv[0]).with_suffix('') if argv[0] != '-' else 'trace'}.simulated")
        folder.mkdir(parents=True, exist_ok=True)
    except (SettingsError, TraceError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD
    timeline = Timeline()
    with _Progress(len(requests)) as progress:
        results = simulate(
            requests,
            settings,
            source,
            concurrency=options.concurrency,
            watch=timeline.take,
            finished=progress.finished,
        )
    what = {
        "device": settings.simulation,
        "model": settings.model,
        "step_time": source.name,
        "origin": source.origin,
        "kv_cache_tokens": settings.num_gpu_blocks * settings.block_size,
    }
    found = {**what, **summary(results, timeline)}
    (folder / "summary.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    write_results(results, folder, as_csv=options.csv)
    print(f"{settings.model} on {settings.simulation}, step times {source.name} ({source.origin})")
    print(readable(found))
    _draw(timeline, f"{settings.model} on {settings.simulation}", folder / "timeline.png")
    print(f"\n{folder}/: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vllm_mock.simulate TRACE",
        description="Simulates the requests of TRACE, a JSONL file (- for standard input) with a line "
        '{"arrival": seconds, "prompt_tokens": N, "output_tokens": N} per request; prefix_id and prefix_tokens name '
        "the part of a prompt that others share, and there may be priority, lora and id. "
        "All flags of the server are taken as well, such as --model; SIMULATION names the device.",
        allow_abbrev=False,
    )
    parser.add_argument("--output", metavar="FOLDER", help="where results go (default: TRACE with .simulated)")
    parser.add_argument("--concurrency", type=int, metavar="N", help="send only so many requests at once")
    parser.add_argument("--csv", action="store_true", help="write requests.csv instead of requests.jsonl")
    return parser


def _settings(flags: Sequence[str]) -> Settings:
    settings = load(flags, os.environ)
    if not settings.simulation:
        raise SettingsError("no device to simulate; set SIMULATION, for example SIMULATION=a100")
    return sized(settings)


def _read(path: str) -> list[TraceRequest]:
    if path == "-":
        return read_trace(sys.stdin)
    try:
        with open(path, encoding="utf-8") as lines:
            return read_trace(lines)
    except TraceError as error:
        raise TraceError(f"{path}, {error}") from None


def _draw(timeline: Timeline, title: str, path: Path) -> None:
    from vllm_mock.simulate.plot import plot

    try:
        plot(timeline, title, path)
    except ImportError:
        print("no picture: matplotlib is not installed (pip install -r requirements-simulator.txt)", file=sys.stderr)


class _Progress:
    """A bar on a terminal, if the package tqdm is there."""

    def __init__(self, total: int) -> None:
        self._update: Callable[[], object] = lambda: None
        self._close: Callable[[], object] = lambda: None
        if sys.stderr.isatty():
            try:
                from tqdm import tqdm
            except ImportError:
                return
            bar = tqdm(total=total, unit="request", leave=False)
            self._update, self._close = bar.update, bar.close

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def finished(self, result: RequestResult) -> None:
        self._update()
