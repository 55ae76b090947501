"""The times of single steps on simulated GPUs."""

import pytest

from vllm_mock.engine.step_time import Batch, kv_cache_tokens, step_time
from vllm_mock.settings import SettingsError, load


def settings(*flags: str, device: str = "a100"):
    return load(flags, {"SIMULATION": device})


def milliseconds(*flags: str, decode: tuple[int, int] = (0, 0), prefills=(), device: str = "a100") -> float:
    return step_time(settings(*flags, device=device)).seconds(Batch(*decode, prefills)) * 1000


def test_a_step_of_llama_2_7b_on_an_a100_reads_its_weights():
    assert milliseconds(decode=(1, 100)) == pytest.approx(11, rel=0.15)


def test_an_empty_step_takes_no_time():
    assert milliseconds() == 0


def test_the_kv_cache_is_what_the_weights_leave():
    # 0.92 of 80 GiB without 13 GB of weights, 512 KiB a token.
    assert kv_cache_tokens(settings()) == pytest.approx(125_500, rel=0.05)
    assert kv_cache_tokens(settings("--num-gpu-blocks-override", "100")) == 1600


def test_unknown_names_are_refused_in_one_line():
    with pytest.raises(SettingsError, match="SIMULATION=z80: no such device; known are a100"):
        step_time(settings(device="z80"))
    with pytest.raises(SettingsError, match=r"--model nobody/none: its dimensions are unknown"):
        step_time(settings("nobody/none"))
