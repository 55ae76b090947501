"""The times of single steps on simulated GPUs."""

import json
import random
import statistics
import subprocess
import sys
import timeit
from pathlib import Path

import pytest

from vllm_mock.engine.step_time import Batch, kv_cache_tokens, step_time
from vllm_mock.engine.step_time.device import device_names, find_device
from vllm_mock.engine.step_time.model import model_id, simulated_model
from vllm_mock.engine.step_time.roofline import HOST
from vllm_mock.engine.step_time.tables import table
from vllm_mock.settings import SettingsError, load

FIXTURES = Path(__file__).parent / "fixtures"
# The measured all-reduces of two L40S are implausible.
KERNEL_TIMES = [
    row
    for row in json.loads((FIXTURES / "kernel_times.json").read_text())
    if (row["device"], row["tensor_parallel"]) != ("l40s", 2)
]


def settings(*flags: str, device: str = "a100"):
    return load(("--step-time", "roofline", *flags), {"SIMULATION": device})


def milliseconds(*flags: str, decode: tuple[int, int] = (0, 0), prefills=(), device: str = "a100") -> float:
    return step_time(settings(*flags, device=device)).seconds(Batch(*decode, prefills)) * 1000


def kernel_milliseconds(coefficients: list[float], batch: Batch) -> float:
    """A form that was fitted to NVIDIA's measurements of kernels (aiconfigurator-core 0.12.0) within 1.3-2.6 %."""
    weights, token, context, sequence, pair, prefill, sharpness = coefficients
    tokens = batch.decode_requests + sum(new for new, _ in batch.prefills)
    pairs = sum(new * (before + new / 2) for new, before in batch.prefills)
    time = (weights**sharpness + (token * tokens) ** sharpness) ** (1 / sharpness)
    time += context * batch.decode_context_tokens + sequence * batch.decode_requests + pair * pairs
    return time + (prefill if batch.prefills else 0)


def random_batches(seed: str) -> list[Batch]:
    draws = random.Random(seed)
    batches = []
    for _ in range(200):
        requests = int(2 ** draws.uniform(0, 8))
        context = int(requests * 2 ** draws.uniform(5, 12.5))
        prompts = [(int(2 ** draws.uniform(5, 13)), 0)] if draws.random() < 0.4 else []
        batches.append(Batch(requests, context, prompts))
    return batches


# Kernels alone; servers on Hopper and Blackwell take longer per layer than these, and were what counted there.
KERNEL_ERRORS = {"a100": 0.04, "l40s": 0.12, "h100": 0.06, "h200": 0.10, "b200": 0.17}


@pytest.mark.parametrize("measured", KERNEL_TIMES, ids=lambda row: "{device} {model} {tensor_parallel}".format(**row))
def test_steps_agree_with_measured_kernels(measured):
    flags = (measured["model"], "--tensor-parallel-size", str(measured["tensor_parallel"]))
    source = step_time(settings(*flags, device=measured["device"]))
    errors = []
    for batch in random_batches(measured["model"]):
        sequences = batch.decode_requests + len(batch.prefills)
        host = HOST.step + sequences * HOST.sequence + (HOST.prefill if batch.prefills else 0)
        expected = kernel_milliseconds(measured["coefficients"], batch)
        errors.append(abs((source.seconds(batch) - host) * 1000 / expected - 1))
    assert statistics.median(errors) < KERNEL_ERRORS[measured["device"]]


@pytest.mark.parametrize(
    ("requests", "kernels"), [(1, 6.18), (8, 6.60), (32, 8.32), (128, 12.83), (256, 19.55)], ids=str
)
def test_decoding_with_llama_3_1_8b_on_an_h100(requests, kernels):
    """The kernels' measured milliseconds at a context of 1024 tokens."""
    host = 1000 * (HOST.step + requests * HOST.sequence)
    time = milliseconds("meta-llama/Llama-3.1-8B", decode=(requests, requests * 1024), device="h100")
    assert time - host == pytest.approx(kernels, rel=0.18)


@pytest.mark.parametrize(("tokens", "kernels"), [(512, 12.0), (2048, 43.5), (8192, 199.7)], ids=str)
def test_a_prompt_with_llama_3_1_8b_on_an_h100(tokens, kernels):
    host = 1000 * (HOST.step + HOST.sequence + HOST.prefill)
    time = milliseconds("meta-llama/Llama-3.1-8B", prefills=[(tokens, 0)], device="h100")
    assert time - host == pytest.approx(kernels, rel=0.25)


def test_an_empty_step_takes_no_time():
    assert milliseconds() == 0


def test_a_bigger_gpu_is_faster():
    times = [milliseconds(decode=(8, 8000), device=device) for device in ("l4", "a100", "h100", "h200", "b200")]
    assert times == sorted(times, reverse=True)
    assert times[0] > 5 * times[-1]


def test_two_gpus_are_faster_than_one_but_not_twice():
    one, two = (milliseconds("Qwen/Qwen3-32B", "-tp", gpus, decode=(16, 16000)) for gpus in ("1", "2"))
    assert 1.4 < one / two < 2


def test_pipeline_stages_add_what_they_hand_over():
    one, two = (milliseconds("Qwen/Qwen3-32B", "-pp", stages, prefills=[(2048, 0)]) for stages in ("1", "2"))
    assert one < two < 1.05 * one


def test_time_grows_with_everything_a_step_has():
    base = milliseconds(decode=(8, 8000), prefills=[(256, 0)])
    assert milliseconds(decode=(9, 8000), prefills=[(256, 0)]) > base
    assert milliseconds(decode=(8, 9000), prefills=[(256, 0)]) > base
    assert milliseconds(decode=(8, 8000), prefills=[(257, 0)]) > base
    assert milliseconds(decode=(8, 8000), prefills=[(256, 1000)]) > base


def test_a_mixture_reads_the_experts_that_a_step_touches():
    def step(requests: int) -> float:
        return milliseconds("Qwen/Qwen3-235B-A22B-FP8", "-tp", "4", decode=(requests, requests), device="h100")

    # 8 of 128 experts for one token, 117 for 40; the dense model of the same active size reads its weights once.
    assert step(40) > 1.6 * step(1)
    dense = [milliseconds("Qwen/Qwen3-32B-FP8", "-tp", "4", decode=(n, n), device="h100") for n in (1, 40)]
    assert dense[1] < 1.3 * dense[0]


def test_a_sliding_window_bounds_what_a_token_reads():
    growth = [
        milliseconds(model, decode=(64, 64 * 32000), device="h100")
        - milliseconds(model, decode=(64, 64 * 4096), device="h100")
        for model in ("mistralai/Mistral-7B-v0.1", "mistralai/Mistral-7B-v0.3")
    ]
    assert growth[0] == pytest.approx(0)
    assert growth[1] > 10


@pytest.mark.parametrize(
    ("name", "gigabytes"),
    [
        ("llama2-7b", 13.5),
        ("meta-llama/Llama-3.1-8B-Instruct", 16.1),
        ("nvidia/Llama-3.1-70B-Instruct-FP8", 72.7),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-14B", 29.5),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 93.4),
        ("openai/gpt-oss-120b", 65.2),
        ("deepseek-ai/DeepSeek-R1", 672),
        ("Qwen/Qwen2.5-7B-Instruct-AWQ", 5.6),
        ("microsoft/phi-2", 5.6),
    ],
    ids=str,
)
def test_the_weights_have_the_size_of_the_checkpoints(name, gigabytes):
    assert simulated_model(settings(name)).weight_bytes / 1e9 == pytest.approx(gigabytes, rel=0.02)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama2-7b", "meta-llama/Llama-2-7b-hf"),
        ("llama2-70b", "meta-llama/Llama-2-70b-hf"),
        ("meta-llama/Llama-2-7b-chat-hf", "meta-llama/Llama-2-7b-hf"),
        ("meta-llama/Meta-Llama-3.1-70B-Instruct", "meta-llama/Llama-3.1-70B"),
        ("meta-llama/Llama-3.3-70B-Instruct", "meta-llama/Llama-3.1-70B"),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16", "meta-llama/Llama-3.1-8B"),
        ("Qwen/Qwen3-30B-A3B-Instruct-2507", "Qwen/Qwen3-30B-A3B"),
        ("google/gemma-3-27b-it", "google/gemma-3-27b-pt"),
    ],
    ids=str,
)
def test_models_are_found_by_their_names(name, expected):
    assert model_id(name) == expected


def test_fp8_halves_what_is_read():
    half = milliseconds("Qwen/Qwen3-32B-FP8", decode=(1, 100), device="h100")
    assert milliseconds("Qwen/Qwen3-32B", "--quantization", "fp8", decode=(1, 100), device="h100") == half
    assert 0.5 < half / milliseconds("Qwen/Qwen3-32B", decode=(1, 100), device="h100") < 0.65


def test_the_kv_cache_is_what_the_weights_leave():
    # 0.92 of 79.1 GiB without 12.6 GiB of weights and about 1.6 of activations and libraries, 512 KiB a token.
    assert kv_cache_tokens(settings()) == pytest.approx(119_700, rel=0.02)
    # vLLM logged 178,880 tokens in 8.11 GiB a GPU (vllm-project/vllm issue 21348): 48 KiB a token and GPU.
    model = simulated_model(settings("Qwen/Qwen3-235B-A22B-FP8", device="h100"))
    per_token = model.shape.layers * model.shape.kv_values(4) * model.kv_bytes
    assert per_token == pytest.approx(8.11 * 2**30 / 178_880, rel=0.02)
    assert kv_cache_tokens(settings("--num-gpu-blocks-override", "100")) == 1600
    assert kv_cache_tokens(settings("--kv-cache-dtype", "fp8")) == pytest.approx(2 * 119_700, rel=0.02)
    assert kv_cache_tokens(settings("-tp", "2")) > 2 * kv_cache_tokens(settings())
    assert kv_cache_tokens(settings("--gpu-memory-utilization", "0.5")) < kv_cache_tokens(settings()) / 2


def test_a_model_that_does_not_fit_is_refused():
    with pytest.raises(SettingsError, match=r"needs 13\d\.\d GiB on each GPU, but a100 has 79\.1 GiB.*tensor-parallel"):
        kv_cache_tokens(settings("meta-llama/Llama-3.1-70B"))


def test_a_folder_with_config_json_is_a_model(tmp_path):
    entry = table("models")["Qwen/Qwen3-30B-A3B"]
    (tmp_path / "config.json").write_text(json.dumps(entry | {"quantization_config": {"quant_method": "fp8"}}))
    model = simulated_model(settings(str(tmp_path)))
    assert model.shape.experts.count == 128
    assert model.weight_bytes / 1e9 == pytest.approx(31.2, rel=0.02)
    assert milliseconds(str(tmp_path), decode=(1, 10), device="h100") == milliseconds(
        "Qwen/Qwen3-30B-A3B-FP8", decode=(1, 10), device="h100"
    )


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "config.json: No such file"),
        ("{", "config.json is not valid JSON"),
        ("[]", "config.json is no JSON object"),
        ("{}", "its config.json has no num_attention_heads"),
        ('{"num_attention_heads": 0}', "its config.json has impossible dimensions"),
        ('{"num_attention_heads": "many"}', "its config.json has impossible dimensions"),
    ],
    ids=str,
)
def test_a_bad_folder_is_refused_in_one_line(tmp_path, content, complaint):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(SettingsError, match=complaint):
        step_time(settings(str(tmp_path)))


def test_unknown_names_are_refused_in_one_line():
    with pytest.raises(SettingsError, match="SIMULATION=z80: no such device; known are a100, a100-40g"):
        step_time(settings(device="z80"))
    with pytest.raises(SettingsError, match=r"--model nobody/none: its dimensions are unknown"):
        step_time(settings("nobody/none"))
    with pytest.raises(SettingsError, match=r"--quantization q3_k: its size is unknown to the simulation"):
        step_time(settings("-q", "q3_k"))


@pytest.mark.parametrize("name", device_names())
def test_every_device_has_plausible_numbers(name):
    device = find_device(name)
    assert find_device(f"NVIDIA_{name.upper().replace('-', '_')}") == device
    shares = (*device.efficiency.weights.values(), *device.efficiency.gemm.values(), device.efficiency.attention)
    assert all(0.1 < share <= 1 for share in shares)
    assert 14 * 2**30 < device.memory < 300 * 2**30


@pytest.mark.parametrize("name", table("models"))
def test_every_model_has_a_time(name):
    source = step_time(settings(name, "-tp", "8", device="b200"))
    assert 0.5e-3 < source.seconds(Batch(1, 100)) < 0.1


def test_a_step_of_256_requests_costs_little():
    source = step_time(settings("Qwen/Qwen3-235B-A22B-FP8", device="h100"))
    batch = Batch(256, 256 * 1024, [(512, 0)])
    assert min(timeit.repeat(lambda: source.seconds(batch), number=1000, repeat=5)) / 1000 < 100e-6


def test_the_roofline_needs_no_package():
    script = (
        "import sys; sys.path.insert(0, '.'); from vllm_mock.settings import load;"
        "from vllm_mock.engine.step_time import Batch, step_time;"
        "step_time(load(['--step-time', 'roofline'], {'SIMULATION': 'a100'})).seconds(Batch(1, 1));"
        "heavy = {'numpy', 'pandas', 'sklearn', 'vidur', 'transformers', 'aiconfigurator_core'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[1], timeout=60)


def test_a_mixture_in_nvfp4_keeps_attention_in_16_bits_and_caches_in_8():
    mixture = simulated_model(settings("nvidia/MiniMax-M2.5-NVFP4", device="b200"))
    assert (mixture.plain_bytes, mixture.quantization.weight, mixture.kv_bytes) == (2, 0.5625, 1)
    dense = simulated_model(settings("nvidia/Llama-3.1-70B-Instruct-NVFP4", device="b200"))
    assert (dense.plain_bytes, dense.kv_bytes) == (0.5625, 1)
    plain = settings("nvidia/Llama-3.1-70B-Instruct-NVFP4", "--kv-cache-dtype", "bfloat16", device="b200")
    assert simulated_model(plain).kv_bytes == 2


def test_whole_experts_cost_less_than_parts_of_all():
    flags = ("Qwen/Qwen3-235B-A22B-FP8", "-tp", "4")
    parts = milliseconds(*flags, decode=(32, 32000), device="h200")
    assert 0.7 * parts < milliseconds(*flags, "--enable-expert-parallel", decode=(32, 32000), device="h200") < parts
