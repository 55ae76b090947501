"""What a simulation needs before the first request: checked settings, and a trained predictor in the cache."""

import sys
import tempfile
from pathlib import Path

from vllm_mock.engine.step_time.cache import cache_folder, cached
from vllm_mock.engine.step_time.device import find_device
from vllm_mock.engine.step_time.memory import kv_cache_tokens
from vllm_mock.engine.step_time.model import simulated_model
from vllm_mock.engine.step_time.registry import chosen, step_time
from vllm_mock.settings import Settings, SettingsError

# Under which vidur publishes profiles of the models that it knows.
_DATA_SETS = "project-vajra/dev-staging"
_NODES = {"a100": "a100-dgx", "h100": "h100-dgx", "a40": "a40-pairwise-nvlink"}
_VIDURS_NAMES = {
    "meta-llama/Meta-Llama-3-8B": "meta-llama/Llama-3-8B",
    "meta-llama/Meta-Llama-3-70B": "meta-llama/Llama-3-70B",
}


def prepare(settings: Settings, download: bool = False) -> None:
    """Check what is simulated and train what --step-time needs, so that no worker has to; says what it does.

    download: first fetch measured profiles for vidur. SettingsError, one line, where the settings cannot be.
    """
    if not settings.simulation:
        return
    kv_cache_tokens(settings)
    name, reason = chosen(settings)
    if reason is not None:
        _say(f"step times are the roofline's: {reason}")
    if name == "vidur" and download and settings.vidur_profiles is None:
        _download(settings)
    step_time(settings)


def _download(settings: Settings) -> None:
    """Put measured profiles into the cache if they can be had."""
    from vllm_mock.engine.step_time.vidur.profiles import (
        UNREADABLE,
        downloaded_name,
        read_profiles,
        tensor_parallel_sizes,
    )
    from vllm_mock.engine.step_time.vidur.source import run_python

    model, device = simulated_model(settings), find_device(settings.simulation).name
    cache, name = cache_folder(settings), downloaded_name(settings, model)
    if cache is None or device not in _NODES or cached(settings, name) is not None:
        return
    known = _VIDURS_NAMES.get(model.shape.name, model.shape.name)
    compute = f"{_DATA_SETS}-{_sanitized(known)}-{device}"
    _say(f"vidur: downloading the profiles {compute}")
    with tempfile.TemporaryDirectory(prefix="download-", dir=cache) as folder:
        arguments = [compute, f"{_DATA_SETS}-{_NODES[device]}", f"{folder}/profiles"]
        quick = {"HF_HUB_OFFLINE": "0", "HF_HUB_ETAG_TIMEOUT": "5", "HF_HUB_DOWNLOAD_TIMEOUT": "20"}
        try:
            run_python("download", arguments, Path(folder), **quick, **_token(settings))
            tensor_parallel_sizes(read_profiles(Path(folder) / "profiles"))
        except (SettingsError, *UNREADABLE):
            _say("vidur: there are no measured profiles to be had; synthetic ones take their place")
            return
        (cache / name).parent.mkdir(exist_ok=True)
        (Path(folder) / "profiles").replace(cache / name)


def _token(settings: Settings) -> dict[str, str]:
    return {"HF_TOKEN": settings.hf_token} if settings.hf_token else {}


def _sanitized(name: str) -> str:
    """`name` as vidur writes it in the names of data sets."""
    return "".join(letter if letter.isalnum() else "-" for letter in name).lower()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
