"""Compares the simulator with vidur: the roofline's steps with vidur's, and both schedulers on the same traces.

usage, from the root of the repository, where vidur is installed (make .vidur/.installed; PYTHONPATH=.vidur):
    python -m benchmarks.vidur_comparison [FOLDER]

FOLDER holds measured profiles in vidur's format, compute/ and network/; without one, synthetic profiles of Llama-2-7b
on an A100 stand in, with which the comparison of steps says nothing new. Prints tables in Markdown.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.vidur_comparison.schedulers import compare_schedulers
from benchmarks.vidur_comparison.steps import compare_steps, costs
from vllm_mock.engine.step_time.vidur.profiles import find_profiles, read_profiles, tensor_parallel_sizes
from vllm_mock.engine.step_time.vidur.source import prepared, training_specification
from vllm_mock.settings import Settings, SettingsError, load


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="with compute/ and network/")
    options = parser.parse_args()
    try:
        settings = _settings(options.folder)
        profiles, table = find_profiles(settings), prepared(settings)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{settings.model} on {settings.tensor_parallel_size} x {settings.simulation}, {profiles.origin} profiles\n")
    print(compare_steps(settings, table), end="\n\n")
    print(costs(settings, table), end="\n\n")
    with tempfile.TemporaryDirectory(prefix="vidur-comparison-") as folder:
        specification = training_specification(settings, profiles, Path(folder))
        print(compare_schedulers(settings, table, specification, Path(folder)))
    return 0


def _settings(folder: Path | None) -> Settings:
    if folder is None:
        return load(("llama2-7b", "--step-time", "vidur"), {**os.environ, "SIMULATION": "a100"})
    found = read_profiles(folder)
    flags = (found.model, "--vidur-profiles", str(folder), "--step-time", "vidur")
    sizes = ("--tensor-parallel-size", str(min(tensor_parallel_sizes(found))))
    return load(flags + sizes, {**os.environ, "SIMULATION": found.device})


if __name__ == "__main__":
    sys.exit(main())
