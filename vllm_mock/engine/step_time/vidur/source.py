"""VidurStepTime: the time of a step from vidur's predictor, which a process of its own has trained before."""

import hashlib
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vllm_mock.engine.step_time.base import Origin
from vllm_mock.engine.step_time.batch import Batch
from vllm_mock.engine.step_time.cache import cache_folder, cached
from vllm_mock.engine.step_time.model import SimulatedModel, simulated_model
from vllm_mock.engine.step_time.roofline import Host, host_of, longer, simulated_terms
from vllm_mock.engine.step_time.terms import Terms
from vllm_mock.engine.step_time.vidur.profiles import Profiles, find_profiles
from vllm_mock.engine.step_time.vidur.synthetic import write_profiles
from vllm_mock.engine.step_time.vidur.table import StepTable
from vllm_mock.settings import Settings, SettingsError

# Part of each table's name: tables of another form or release are made anew.
_FORM = "1 vidur 0.0.26"
_ROOT = Path(__file__).resolve().parents[4]
_NO_CACHE = "there is no folder to keep its training; name one that can be written to in VLLM_MOCK_CACHE"
INSTALL = "pip install -r requirements-simulator.txt"


class VidurStepTime:
    """What vidur predicts for the layers, with the output head and the CPU's part, which it leaves out, as Roofline.

    A step beyond the profiles takes a time that is extrapolated, which is said once.
    """

    name = "vidur"

    def __init__(self, table: StepTable, origin: Origin, terms: Terms | None = None, host: Host | None = None) -> None:
        self.origin = origin
        self._table = table
        self._terms = terms
        self._host = host or Host(0.0, 0.0, 0.0)
        self._beyond = False

    def seconds(self, batch: Batch) -> float:
        """The time of a step; its cost grows with the chunks of prompts alone."""
        table, requests, prefills = self._table, batch.decode_requests, batch.prefills
        tokens = requests + sum(new for new, _ in prefills)
        if not tokens:
            return 0.0
        context = -(-batch.decode_context_tokens // requests) if requests else 0
        layer = table.token_time(tokens)
        if requests:
            layer += table.decode_time(requests, context)
        for new, before in prefills:
            layer += table.prefill_time(new, before)
        milliseconds = table.layers * layer + (table.stages - 1) * table.send_time(tokens)
        if tokens > table.most_tokens or requests > table.most_requests or context > table.most_context:
            self._say_beyond(tokens, requests, context)
        return milliseconds / 1000 + self._besides(requests + len(prefills), bool(prefills))

    def _besides(self, sequences: int, prompt: bool) -> float:
        seconds = self._host.step + sequences * self._host.sequence + prompt * self._host.prefill
        if (terms := self._terms) is not None:
            seconds += longer(terms.head_read, sequences * terms.head, terms.sharpness)
        return seconds

    def _say_beyond(self, tokens: int, requests: int, context: int) -> None:
        if self._beyond:
            return
        self._beyond = True
        table = self._table
        print(
            f"warning: vidur's profiles end at {table.most_tokens} tokens in a step, {table.most_requests} decoding "
            f"requests and {table.most_context} tokens of context; a step of {tokens}, {requests} and {context} is "
            "extrapolated, as all further ones",
            file=sys.stderr,
            flush=True,
        )


def vidur(settings: Settings) -> VidurStepTime:
    """vidur's times for the settings, trained now if they were not before. SettingsError where that cannot be."""
    profiles = find_profiles(settings)
    table = _load(settings, _name(settings, profiles)) or prepared(settings)
    return VidurStepTime(table, profiles.origin, simulated_terms(settings), host_of(settings))


def vidur_refusal(settings: Settings) -> str | None:
    """Why vidur cannot tell times of these settings; None if it can. SettingsError for unknown devices or models."""
    model = simulated_model(settings)
    if (reason := _unfit(settings, model)) is not None:
        return reason
    if _load(settings, _name(settings, find_profiles(settings))) is not None:
        return None
    if all(importlib.util.find_spec(name) is not None for name in ("vidur", "sklearn", "pandas")):
        return None if cache_folder(settings) is not None else _NO_CACHE
    if platform.machine() != "x86_64" or sys.platform != "linux" or sys.version_info >= (3, 14):
        return "vidur has no package for this machine, only for Linux on x86_64 with Python 3.10 to 3.13"
    return f"vidur is not installed: {INSTALL}"


def _unfit(settings: Settings, model: SimulatedModel) -> str | None:
    shape, gpus = model.shape, settings.tensor_parallel_size
    if shape.experts is not None or shape.latent is not None:
        return f"vidur knows no mixture of experts and no latent attention, as {shape.name} has"
    if shape.heads % gpus or shape.hidden % gpus or shape.layers % settings.pipeline_parallel_size:
        return f"vidur cannot divide {shape.name} by these parallel sizes"
    if shape.hidden % shape.heads:
        return f"vidur cannot divide {shape.hidden} by the {shape.heads} heads of {shape.name}"
    return None


def prepared(settings: Settings) -> StepTable:
    """The table of these settings; trains the predictor in a process of its own if it is not in the cache."""
    profiles = find_profiles(settings)
    name = _name(settings, profiles)
    if (table := _load(settings, name)) is not None:
        return table
    cache = cache_folder(settings)
    if cache is None:
        raise SettingsError(f"--step-time vidur: {_NO_CACHE}")
    path = cache / name
    path.parent.mkdir(exist_ok=True)
    print(f"vidur: training once, on {profiles.origin} profiles, for {cache}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="training-", dir=cache) as folder:
        _train(settings, profiles, Path(folder), path)
    return StepTable.load(path)


def _name(settings: Settings, profiles: Profiles) -> str:
    described = [_FORM, profiles.origin, profiles.digest, *_sizes(settings).values()]
    return f"vidur/{hashlib.sha256(json.dumps(described).encode()).hexdigest()[:32]}.json"


def _sizes(settings: Settings) -> dict[str, int]:
    return {
        "tensor_parallel_size": settings.tensor_parallel_size,
        "pipeline_parallel_size": settings.pipeline_parallel_size,
    }


def _load(settings: Settings, name: str) -> StepTable | None:
    path = cached(settings, name)
    if path is None:
        return None
    try:
        return StepTable.load(path)
    except (OSError, ValueError, TypeError):
        return None


def _train(settings: Settings, profiles: Profiles, folder: Path, result: Path) -> None:
    spec = training_specification(settings, profiles, folder)
    (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    run_python("training", [str(folder / "spec.json"), str(result.resolve())], folder)


def training_specification(settings: Settings, profiles: Profiles, folder: Path) -> dict[str, Any]:
    """What training.py is told; profiles that are nowhere yet are written below `folder`."""
    source, shape = profiles.folder, None
    if source is None:
        source, model = folder / "profiles", simulated_model(settings)
        write_profiles(source, simulated_terms(settings), model.shape, settings.tensor_parallel_size)
        shape = _vidur_shape(model)
    return {
        "folder": str(source.resolve()),
        "model": profiles.model,
        "device": profiles.device,
        "network_device": profiles.network_device,
        "shape": shape,
        **_sizes(settings),
    }


def run_python(module: str, arguments: list[str], folder: Path, **environment: str) -> None:
    """Run a module of this package in a process of its own, whose progress shows; SettingsError if it fails."""
    given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    path = [str(_ROOT), *map(os.path.abspath, given)]
    variables = {"PYTHONPATH": os.pathsep.join(path), "WANDB_MODE": "disabled", "HF_HUB_OFFLINE": "1", **environment}
    command = [sys.executable, "-m", f"{__package__}.{module}", *arguments]
    ended = subprocess.run(command, cwd=folder, env=os.environ | variables, stdin=subprocess.DEVNULL, check=False)
    if ended.returncode:
        raise SettingsError(
            f"vidur could not be trained (exit code {ended.returncode}, the reason is above); "
            "--step-time roofline does without it"
        )


def _vidur_shape(model: SimulatedModel) -> dict[str, Any]:
    """A model's dimensions under vidur's names."""
    shape = asdict(model.shape)
    return {
        "num_layers": shape["layers"],
        "num_q_heads": shape["heads"],
        "num_kv_heads": shape["kv_heads"],
        "embedding_dim": shape["hidden"],
        "mlp_hidden_dim": shape["intermediate"],
        "vocab_size": shape["vocab"],
        "use_gated_mlp": shape["matrices"] == 3,
    }
