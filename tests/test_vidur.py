"""Step times of vidur's predictor. VIDUR_PACKAGES: a folder with vidur and what it imports (make test-vidur)."""

import csv
import json
import lzma
import os
import random
import statistics
import subprocess
import sys
import tempfile
import timeit
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vllm_mock.engine.step_time import Batch, step_time
from vllm_mock.engine.step_time.cache import cache_folder
from vllm_mock.engine.step_time.model import simulated_model
from vllm_mock.engine.step_time.preparation import prepare
from vllm_mock.engine.step_time.roofline import Host, Roofline, host_of, simulated_terms
from vllm_mock.engine.step_time.vidur import source
from vllm_mock.engine.step_time.vidur.profiles import FILES, find_profiles
from vllm_mock.engine.step_time.vidur.source import VidurStepTime, vidur_refusal
from vllm_mock.engine.step_time.vidur.synthetic import write_profiles
from vllm_mock.engine.step_time.vidur.table import StepTable
from vllm_mock.settings import SettingsError, load

ROOT = Path(__file__).parents[1]
VIDUR_PACKAGES = os.environ.get("VIDUR_PACKAGES", "")
NO_HOST = Host(0.0, 0.0, 0.0)

needs_vidur = pytest.mark.skipif(not VIDUR_PACKAGES, reason="VIDUR_PACKAGES names no folder that has vidur")


def settings(cache: Path | str, *flags: str):
    return load(("--simulation-cache", str(cache), *flags), {"SIMULATION": "a100"})


def layers_alone(chosen) -> Roofline:
    """The roofline of what vidur's profiles know: neither output head nor CPU."""
    terms = simulated_terms(chosen)
    terms.head_read = terms.head = 0.0
    return Roofline(terms, NO_HOST)


def table_of(chosen) -> StepTable:
    """The table that a perfect predictor would make of the roofline's profiles, without a forest."""
    roofline = layers_alone(chosen)
    layers = simulated_model(chosen).shape.layers
    sequence = simulated_terms(chosen).sequence

    def per_layer(batch: Batch, without: float = 0.0) -> float:
        return (roofline.seconds(batch) - without) * 1000 / layers

    def chunk(new: int, before: int) -> float:
        return per_layer(Batch(0, 0, [(new, before)]), per_layer(Batch(new, 0)) * layers / 1000 - new * sequence)

    return StepTable(
        layers,
        1,
        [per_layer(Batch(n, 0), n * sequence) for n in range(8, 4097, 8)],
        [
            [per_layer(Batch(b, b * k), roofline.seconds(Batch(b, 0)) - b * sequence) for k in range(0, 4097, 64)]
            for b in range(1, 129)
        ],
        [[chunk(n, k) for n in range(32, 2049, 32)] for k in range(0, 4097, 64)],
        [],
    )


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    return settings(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def table(chosen) -> StepTable:
    return table_of(chosen)


def test_a_table_says_what_it_was_made_of(chosen, table):
    roofline = layers_alone(chosen)
    times = VidurStepTime(table, "synthetic")
    for batch in (Batch(64, 64 * 1024), Batch(8, 8 * 640, [(512, 128)]), Batch(0, 0, [(1024, 0), (32, 64)])):
        # In a step, the constant part of a prompt counts once, in vidur's form with each chunk.
        chunks = max(0, len(batch.prefills) - 1) * simulated_terms(chosen).prefill
        assert times.seconds(batch) == pytest.approx(roofline.seconds(batch) + chunks, rel=1e-6)
    assert times.seconds(Batch(0, 0)) == 0


def test_head_and_host_come_from_the_roofline(chosen, table):
    whole = VidurStepTime(table, "synthetic", simulated_terms(chosen), host_of(chosen))
    layers = VidurStepTime(table, "synthetic")
    batch = Batch(16, 16 * 1024)
    host = host_of(chosen)
    besides = whole.seconds(batch) - layers.seconds(batch)
    # 262 MB of output head at three quarters of 2 TB/s, and the CPU's part.
    assert besides - host.step - 16 * host.sequence == pytest.approx(0.17e-3, rel=0.05)


@given(
    decode=st.tuples(st.integers(0, 2000), st.integers(0, 50_000)),
    prefills=st.lists(st.tuples(st.integers(1, 50_000), st.integers(0, 200_000)), max_size=4),
)
def test_any_step_has_a_time(table, decode, prefills):
    requests, context = decode
    batch = Batch(requests, requests * context, prefills)
    times = VidurStepTime(table, "synthetic")
    assert (times.seconds(batch) > 0) == bool(requests or prefills)
    assert times.seconds(batch) < 1000


def test_beyond_the_profiles_time_goes_on_growing_and_that_is_said_once(chosen, table, capsys):
    times, roofline = VidurStepTime(table, "synthetic"), layers_alone(chosen)
    inside = times.seconds(Batch(128, 128 * 4000))
    assert capsys.readouterr().err == ""
    outside = times.seconds(Batch(256, 256 * 8000))
    assert outside > 3 * inside
    assert outside == pytest.approx(roofline.seconds(Batch(256, 256 * 8000)), rel=0.05)
    prompt = Batch(0, 0, [(8192, 8192)])
    assert times.seconds(prompt) == pytest.approx(roofline.seconds(prompt), rel=0.1)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "profiles end at 4096 tokens in a step, 128 decoding requests and 4096 tokens of context" in said


def test_a_step_costs_less_than_a_millisecond(table):
    times = VidurStepTime(table, "synthetic")
    batch = Batch(128, 128 * 1024, [(512, 0)] * 4)
    assert min(timeit.repeat(lambda: times.seconds(batch), number=200, repeat=5)) / 200 < 1e-3


def rows(path: Path) -> list[dict[str, str]]:
    with lzma.open(path, "rt", newline="") as file:
        return list(csv.DictReader(file))


def test_synthetic_profiles_are_the_rooflines(chosen, tmp_path):
    shape = simulated_model(chosen).shape
    write_profiles(tmp_path, simulated_terms(chosen), shape, 1)
    assert all((tmp_path / name).is_file() for name in FILES)
    roofline = layers_alone(chosen)
    terms = simulated_terms(chosen)
    for row in rows(tmp_path / "compute/mlp.csv.xz"):
        tokens = int(row["num_tokens"])
        medians = sum(float(value) for key, value in row.items() if key.endswith(".median"))
        step = roofline.seconds(Batch(tokens, 0)) - tokens * terms.sequence
        assert medians * shape.layers / 1000 == pytest.approx(step, rel=1e-6)
    attention = rows(tmp_path / "compute/attention.csv.xz")
    row = next(row for row in attention if int(row["batch_size"]) > 60 and row["kv_cache_size"] == "2048")
    requests = int(row["batch_size"])
    expected = roofline.seconds(Batch(requests, requests * 2048)) - roofline.seconds(Batch(requests, 0))
    expected += requests * terms.sequence
    assert float(row["time_stats.attn_decode.median"]) * shape.layers / 1000 == pytest.approx(expected)


def test_a_table_from_the_cache_needs_no_vidur(chosen, table, tmp_path, monkeypatch):
    monkeypatch.setattr(source.importlib.util, "find_spec", lambda name: None)
    asked = settings(tmp_path)
    assert "not installed" in vidur_refusal(asked)
    path = tmp_path / source._name(asked, find_profiles(asked))
    path.parent.mkdir()
    table.write(path)
    times = step_time(asked)
    assert (times.name, times.origin) == ("vidur", "synthetic")
    assert times.seconds(Batch(8, 8000)) > 0
    # Another model, parallel size or device has a name of its own; a spoilt file is none.
    assert "not installed" in vidur_refusal(settings(tmp_path, "-tp", "2"))
    assert "not installed" in vidur_refusal(settings(tmp_path, "meta-llama/Llama-3.1-8B"))
    path.write_text(path.read_text()[:-100])
    assert "not installed" in vidur_refusal(asked)


def test_where_vidur_is_missing_the_roofline_serves_and_says_why(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(source.importlib.util, "find_spec", lambda name: None)
    asked = settings(tmp_path)
    assert step_time(asked).name == "roofline"
    prepare(asked)
    assert capsys.readouterr().err == (
        "step times are the roofline's: vidur is not installed: pip install -r requirements-simulator.txt\n"
    )
    with pytest.raises(SettingsError, match="--step-time vidur: vidur is not installed: pip install -r req"):
        step_time(settings(tmp_path, "--step-time", "vidur"))
    monkeypatch.setattr(source.platform, "machine", lambda: "aarch64")
    prepare(asked)
    assert "vidur has no package for this machine, only for Linux on x86_64" in capsys.readouterr().err


def test_the_cache_may_be_read_only_but_not_everything(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(source.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    asked = settings("/dev/null/cache")
    assert cache_folder(asked) == tmp_path / f"vllm-mock-{os.getuid()}"
    assert vidur_refusal(asked) is None
    monkeypatch.setattr(tempfile, "tempdir", "/dev/null")
    prepare(asked)
    assert "roofline's: there is no folder to keep its training; name one that" in capsys.readouterr().err
    with pytest.raises(SettingsError, match="--step-time vidur: there is no folder to keep its training"):
        prepare(settings("/dev/null/cache", "--step-time", "vidur"))


def test_a_user_without_home_has_a_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder(settings("")) == tmp_path / f"vllm-mock-{os.getuid()}"


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("openai/gpt-oss-20b",), "no mixture of experts"),
        (("llama2-7b", "-tp", "3"), "cannot divide meta-llama/Llama-2-7b-hf by these parallel sizes"),
    ],
    ids=str,
)
def test_what_vidur_cannot_tell_is_refused(tmp_path, flags, reason):
    assert step_time(settings(tmp_path, *flags)).name == "roofline"
    with pytest.raises(SettingsError, match=reason):
        step_time(settings(tmp_path, *flags, "--step-time", "vidur"))


@pytest.fixture
def profiles(chosen, tmp_path) -> Path:
    folder = tmp_path / "profiles"
    write_profiles(folder, simulated_terms(chosen), simulated_model(chosen).shape, 1)
    (folder / "compute/config.json").write_text('{"model": "meta-llama/Llama-2-7b-hf", "device_sku": "a100"}')
    (folder / "network/config.json").write_text('{"sku": "a100_dgx"}')
    return folder


def test_given_profiles_are_measured(profiles, tmp_path):
    found = find_profiles(settings(tmp_path, "--vidur-profiles", str(profiles)))
    assert (found.origin, found.folder, found.model) == ("measured", profiles, "meta-llama/Llama-2-7b-hf")


def test_given_profiles_must_fit(profiles, tmp_path):
    given = ("--vidur-profiles", str(profiles))
    with pytest.raises(SettingsError, match=r"is of meta-llama/Llama-2-7b-hf on a100, but .*Llama-2-70b-hf on a100 is"):
        find_profiles(settings(tmp_path, "llama2-70b", *given))
    with pytest.raises(SettingsError, match="16-bit weights"):
        find_profiles(settings(tmp_path, "-q", "fp8", *given))
    with pytest.raises(SettingsError, match="is of tensor parallel sizes 1, but 2 is simulated"):
        find_profiles(settings(tmp_path, "-tp", "2", *given))
    (profiles / "compute/config.json").write_text("{}")
    with pytest.raises(SettingsError, match=r"compute/config.json names no model and device_sku"):
        find_profiles(settings(tmp_path, *given))
    (profiles / "network/send_recv.csv.xz").unlink()
    with pytest.raises(SettingsError, match=r"there is no network/send_recv\.csv\.xz"):
        find_profiles(settings(tmp_path, *given))


@pytest.mark.parametrize(
    ("device", "flags", "line"),
    [
        ("z80", (), "error: SIMULATION=z80: no such device; known are a100, "),
        ("a100", ("--vidur-profiles", "/none", "--step-time", "vidur"), "error: --vidur-profiles /none: there is no "),
        ("a100", ("meta-llama/Llama-3.1-405B",), "error: --model meta-llama/Llama-3.1-405B needs "),
    ],
    ids=str,
)
def test_the_start_ends_with_one_line(tmp_path, device, flags, line):
    environment = os.environ | {"SIMULATION": device, "STANDALONE_MODE": "true", "VLLM_MOCK_CACHE": str(tmp_path)}
    command = [sys.executable, "app.py", "--port", "0", *flags]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(line)
    assert ended.stderr.count("\n") == 1


def test_preparing_needs_a_device(tmp_path):
    command = [sys.executable, "app.py", "--prepare-simulation"]
    environment = {name: value for name, value in os.environ.items() if name != "SIMULATION"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "SIMULATION=a100" in ended.stderr


def run_with_vidur(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(ROOT), str(Path(VIDUR_PACKAGES).resolve())))
    variables = os.environ | {"PYTHONPATH": path, "STANDALONE_MODE": "true"} | environment
    # Large packages, which are imported more than once.
    variables["PYTHONDONTWRITEBYTECODE"] = ""
    ended = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=variables, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended


@needs_vidur
def test_training_is_done_once_and_leaves_nothing_but_its_result(tmp_path):
    cache, work = tmp_path / "cache", tmp_path / "work"
    work.mkdir()
    # AIBrix's image is built by this command.
    command = (str(ROOT / "app.py"), "--time_limit", "1000", "--replica_config_device", "a100")
    offline = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_DISABLE_TELEMETRY": "1"}
    ended = run_with_vidur(*command, folder=work, VLLM_MOCK_CACHE=str(cache), **offline)
    assert "there are no measured profiles to be had; synthetic ones take their place" in ended.stderr
    assert "vidur: training 12 of 12, attn_decode" in ended.stderr
    assert list(work.iterdir()) == []
    assert [path.suffix for path in cache.rglob("*") if path.is_file()] == [".json"]
    again = run_with_vidur(*command, folder=work, VLLM_MOCK_CACHE=str(cache), **offline)
    assert "training" not in again.stderr
    # This process has no vidur, but finds the result.
    times, roofline = step_time(settings(cache)), step_time(settings(cache, "--step-time", "roofline"))
    assert (times.name, times.origin) == ("vidur", "synthetic")
    draws = random.Random(1)
    errors = []
    for _ in range(300):
        requests = int(2 ** draws.uniform(0, 8))
        batch = Batch(requests, int(requests * 2 ** draws.uniform(5, 13)), [(draws.randint(1, 2000), 0)])
        errors.append(abs(times.seconds(batch) / roofline.seconds(batch) - 1))
    assert statistics.median(errors) < 0.04


@needs_vidur
def test_the_table_is_what_vidurs_own_predictor_says(chosen, profiles, tmp_path):
    spec = {"folder": str(profiles), "model": "simulated/llama", "device": "a100", "network_device": "a100_dgx"}
    spec |= {"tensor_parallel_size": 1, "shape": source._vidur_shape(simulated_model(chosen))}
    specs = [str(tmp_path / f"{stages}.json") for stages in (1, 2)]
    for stages, name in enumerate(specs, 1):
        Path(name).write_text(json.dumps(spec | {"pipeline_parallel_size": stages}))
    ended = run_with_vidur(str(ROOT / "tests/vidur/agreement.py"), *specs, folder=tmp_path)
    assert float(ended.stdout.split()[-1]) < 1e-4
