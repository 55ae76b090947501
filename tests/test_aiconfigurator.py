"""--step-time aiconfigurator: against a stand-in for its package, and against the package where it is installed."""

import importlib.util
import json
import sys
import types
from pathlib import Path

import pytest

from vllm_mock.engine.step_time import Batch, step_time
from vllm_mock.engine.step_time.roofline import HOST, HOST_IN_TURN
from vllm_mock.settings import SettingsError, load

BATCH = Batch(8, 8000, [(100, 0), (50, 30)])


def source(*flags: str, device: str = "h100"):
    return step_time(load(("--step-time", "aiconfigurator", *flags), {"SIMULATION": device}))


class Kernels:
    """The package's model, which here takes 7 ms for any step; `asked` is what it was made with."""

    asked: dict
    config: dict
    complaint: str | None = None

    @classmethod
    def from_native(cls, question: dict) -> "Kernels":
        cls.asked = question
        cls.config = json.loads((Path(question["model_name"]) / "config.json").read_text())
        if cls.complaint is not None:
            raise ValueError(cls.complaint)
        return cls()

    def estimate_forward_pass_time_ms(self, step: dict) -> float:
        Kernels.last = step["scheduled_requests"]
        return 7.0


@pytest.fixture
def package(monkeypatch, tmp_path):
    """A package with one configuration."""
    package, sdk = types.ModuleType("aiconfigurator_core"), types.ModuleType("aiconfigurator_core.sdk")
    package.__file__ = str(tmp_path / "__init__.py")
    configs = tmp_path / "model_configs"
    configs.mkdir()
    (configs / "Qwen--Qwen3-30B-A3B-FP8_config.json").write_text('{"shipped": true}')
    sdk.RustForwardPassPerfModel = type("RustForwardPassPerfModel", (Kernels,), {})
    monkeypatch.setitem(sys.modules, "aiconfigurator_core", package)
    monkeypatch.setitem(sys.modules, "aiconfigurator_core.sdk", sdk)
    return sdk.RustForwardPassPerfModel


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "aiconfigurator_core", None)
    with pytest.raises(SettingsError) as refusal:
        source()
    assert str(refusal.value) == (
        "--step-time aiconfigurator: aiconfigurator-core is not installed: "
        "pip install -r requirements-aiconfigurator.txt"
    )
    assert (Path(__file__).parents[1] / "requirements-aiconfigurator.txt").is_file()


@pytest.mark.parametrize(("flags", "host"), [((), HOST), (("--no-async-scheduling",), HOST_IN_TURN)], ids=str)
def test_the_kernels_of_a_step_and_the_host(package, flags, host):
    found = source("meta-llama/Llama-3.1-8B", *flags)
    assert found.seconds(BATCH) == pytest.approx(0.007 + host.step + 10 * host.sequence + host.prefill)
    assert Kernels.last == {
        "num_decode_requests": 8,
        "sum_decode_kv_tokens": 8000,
        "num_prefill_requests": 2,
        "sum_prefill_tokens": 150,
        "sum_prefill_kv_tokens": 30,
    }
    assert found.seconds(Batch(8, 8000)) == pytest.approx(0.007 + host.step + 8 * host.sequence)
    assert found.seconds(Batch(0, 0)) == 0
    assert (found.name, found.origin) == ("aiconfigurator", "measured")


def test_a_dense_model_is_described_by_its_dimensions(package):
    source("mistralai/Mistral-7B-v0.3", "-tp", "2", "--kv-cache-dtype", "fp8", "-q", "fp8")
    assert package.asked["system_name"] == "h100_sxm"
    assert (package.asked["tp_size"], package.asked["kv_cache_dtype"], package.asked["weight_dtype"]) == (
        2,
        "fp8",
        "fp8",
    )
    assert package.config["hidden_size"] == 4096
    assert package.config["num_key_value_heads"] == 8
    assert package.config["architectures"] == ["LlamaForCausalLM"]
    assert not Path(package.asked["model_name"]).exists()


def test_a_mixture_is_described_by_the_configuration_that_the_package_ships(package):
    source("Qwen/Qwen3-30B-A3B-FP8", "-tp", "2")
    assert package.config == {"shipped": True}
    assert (package.asked["weight_dtype"], package.asked["moe_tp_size"]) == (None, 2)
    with pytest.raises(SettingsError, match=r"does not know the mixture of experts mistralai/Mixtral-8x7B-v0\.1"):
        source("mistralai/Mixtral-8x7B-v0.1")


def test_what_it_has_not_measured_is_refused_in_one_line(package):
    with pytest.raises(SettingsError, match="it has no kernels of t4; it has those of a100, h100"):
        source(device="t4")
    package.complaint = "GEMM perf data missing\n  at line 7"
    with pytest.raises(SettingsError, match=r"no kernels of llama2-7b on h100: GEMM perf data missing$"):
        source("llama2-7b")


if importlib.util.find_spec("aiconfigurator_core"):

    @pytest.mark.parametrize(("requests", "kernels"), [(1, 6.18), (32, 8.32), (256, 19.55)], ids=str)
    def test_the_real_package(requests, kernels):
        """Milliseconds of Llama-3.1-8B on an H100 at a context of 1024 tokens."""
        found = source("meta-llama/Llama-3.1-8B").seconds(Batch(requests, requests * 1024))
        assert found - HOST.step - requests * HOST.sequence == pytest.approx(kernels / 1000, rel=0.01)
