"""Which profiles vidur's predictor is trained on: the operator's, downloaded ones, or those of the roofline."""

import csv
import hashlib
import json
import lzma
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from vllm_mock.engine.step_time.base import Origin
from vllm_mock.engine.step_time.cache import cached
from vllm_mock.engine.step_time.device import find_device
from vllm_mock.engine.step_time.model import SimulatedModel, model_id, simulated_model
from vllm_mock.engine.step_time.quantization import PLAIN
from vllm_mock.engine.step_time.roofline import simulated_terms
from vllm_mock.engine.step_time.terms import Terms
from vllm_mock.settings import Settings, SettingsError

FILES = (
    *("compute/config.json", "compute/mlp.csv.xz", "compute/attention.csv.xz"),
    *("network/config.json", "network/all_reduce.csv.xz", "network/send_recv.csv.xz"),
)


UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, lzma.LZMAError)


@dataclass(frozen=True, slots=True)
class Profiles:
    """folder: where they are, None for those that the roofline is to write. digest: of all that they say.

    model, device, network_device: as vidur names them.
    """

    origin: Origin
    digest: str
    model: str
    device: str
    network_device: str
    folder: Path | None = None


def find_profiles(settings: Settings) -> Profiles:
    """--vidur-profiles, else downloaded ones, else synthetic ones. SettingsError if the operator's do not fit."""
    model = simulated_model(settings)
    if settings.vidur_profiles is not None:
        return _given(settings, model)
    folder = cached(settings, downloaded_name(settings, model))
    if folder is not None and model.quantization == PLAIN:
        found = read_profiles(folder)
        if settings.tensor_parallel_size in tensor_parallel_sizes(found):
            return found
    return _synthetic(simulated_terms(settings), model)


def downloaded_name(settings: Settings, model: SimulatedModel) -> str:
    """Name in the cache of the profiles that were downloaded for model and device."""
    return f"profiles/{model.shape.name.replace('/', '--')}-{find_device(settings.simulation).name}"


@lru_cache(maxsize=4)
def tensor_parallel_sizes(profiles: Profiles) -> set[int]:
    """Those that all of its files tell of; one of UNREADABLE where they are spoilt."""
    compute = [_workers(profiles, f"compute/{name}", "num_tensor_parallel_workers") for name in ("mlp", "attention")]
    return compute[0] & compute[1] & (_workers(profiles, "network/all_reduce", "num_workers") | {1})


def _workers(profiles: Profiles, name: str, column: str) -> set[int]:
    with lzma.open(f"{profiles.folder}/{name}.csv.xz", "rt", newline="") as file:
        return {int(row[column]) for row in csv.DictReader(file)}


def _given(settings: Settings, model: SimulatedModel) -> Profiles:
    folder = Path(str(settings.vidur_profiles))
    flag = f"--vidur-profiles {folder}"
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise SettingsError(f"{flag}: there is no {missing[0]}")
    try:
        found = read_profiles(folder)
        sizes = tensor_parallel_sizes(found)
    except UNREADABLE:
        raise SettingsError(
            f"{flag}: compute/config.json names no model and device_sku, or network's no sku, or files are spoilt"
        ) from None
    device = find_device(settings.simulation).name
    if _id(found.model) != model.shape.name or found.device != device:
        raise SettingsError(
            f"{flag} is of {found.model} on {found.device}, but {model.shape.name} on {device} is simulated"
        )
    if model.quantization != PLAIN:
        raise SettingsError(f"{flag}: profiles are of 16-bit weights, but --model {settings.model} is quantised")
    if settings.tensor_parallel_size not in sizes:
        raise SettingsError(
            f"{flag} is of tensor parallel sizes {', '.join(map(str, sorted(sizes)))}, "
            f"but {settings.tensor_parallel_size} is simulated"
        )
    return found


def _id(name: str) -> str:
    try:
        return model_id(name)
    except SettingsError:
        return name


def read_profiles(folder: Path) -> Profiles:
    """What the folder holds; one of UNREADABLE where it does not hold what it should."""
    compute = json.loads((folder / "compute/config.json").read_text(encoding="utf-8"))
    network = json.loads((folder / "network/config.json").read_text(encoding="utf-8"))
    digest = hashlib.sha256(b"".join((folder / name).read_bytes() for name in FILES)).hexdigest()
    return Profiles("measured", digest, compute["model"], compute["device_sku"], network["sku"], folder)


def _synthetic(terms: Terms, model: SimulatedModel) -> Profiles:
    described = json.dumps([asdict(terms), asdict(model.shape)])
    # vidur must know the names of device and network, but its predictor takes all numbers from the profiles.
    return Profiles(
        "synthetic", hashlib.sha256(described.encode()).hexdigest(), f"simulated/{model.shape.name}", "a100", "a100_dgx"
    )
