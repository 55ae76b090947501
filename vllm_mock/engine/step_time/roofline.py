"""Roofline: the time of a step from the dimensions of model and device."""

from collections.abc import Sequence
from typing import NamedTuple

from vllm_mock.engine.step_time.base import Origin
from vllm_mock.engine.step_time.batch import Batch
from vllm_mock.engine.step_time.device import find_device
from vllm_mock.engine.step_time.model import simulated_model
from vllm_mock.engine.step_time.terms import Terms, terms
from vllm_mock.settings import Settings


class Host(NamedTuple):
    """Seconds that the CPU adds and the GPU does not hide: per step, per sequence in it, per step with a prompt."""

    step: float
    sequence: float
    prefill: float


# Fitted to servers (docs/fidelity.md): as since vLLM 0.14, where the next step is scheduled while one runs, and before.
HOST = Host(step=0.4e-3, sequence=15.2e-6, prefill=2.94e-3)
HOST_IN_TURN = Host(step=0.74e-3, sequence=40.4e-6, prefill=2.94e-3)


class Roofline:
    """Weights are read while tokens are multiplied: the longer of both counts, with a smooth passage between them.

    With n tokens of input, s sequences, K tokens of context of the D decoding ones among them, and A = sum of
    new (before + new / 2) over the chunks of prompts, a step takes
      max(read the weights, multiply n, and s by the output head)
      + max(read the experts that n tokens touch, multiply n)
      + read K + attend A + pass n through memory and all-reduces
      + layers, constant and by D, with a prompt more + host, constant and by s.
    How near each part comes to the data sheet is said by `Efficiency`. A batch passes all pipeline stages, one after
    the other.
    """

    name = "roofline"
    origin: Origin = "analytic"

    def __init__(self, terms: Terms, host: Host = HOST) -> None:
        self._terms = terms
        self._read = terms.read + terms.head_read
        self._token = terms.passes + terms.all_reduce_token
        self._step = terms.layers + terms.all_reduces + host.step
        self._prefill = terms.prefill + host.prefill
        self._host_sequence = host.sequence

    def seconds(self, batch: Batch) -> float:
        """The time of a step; its cost grows with the chunks of prompts alone."""
        terms = self._terms
        decodes, prefills = batch.decode_requests, batch.prefills
        tokens, pairs = decodes, 0.0
        for new, before in prefills:
            tokens += new
            pairs += new * (before + new / 2)
        if not tokens:
            return 0.0
        sequences = decodes + len(prefills)
        seconds = self._step + sequences * self._host_sequence
        seconds += longer(self._read, tokens * terms.token + sequences * terms.head, terms.sharpness)
        if terms.expert_read:
            # Each token touches its experts as if they were drawn anew.
            touched = 1 - terms.untouched**tokens
            read = terms.expert_read * touched**terms.expert_spread
            seconds += longer(read, tokens * terms.expert_token, terms.expert_sharpness) + touched * terms.experts
        seconds += decodes * terms.sequence + tokens * self._token + batch.decode_context_tokens * terms.context
        if terms.window_context:
            seconds += min(batch.decode_context_tokens, decodes * terms.window) * terms.window_context
        if prefills:
            seconds += self._prefill + pairs * terms.pair
            if terms.window_pair:
                seconds += _windowed(prefills, terms.window) * terms.window_pair
        return seconds


def _windowed(prefills: Sequence[tuple[int, int]], window: int) -> float:
    """Pairs of tokens in layers that see the last `window` tokens alone."""
    return sum(new * min(before + new / 2, window) for new, before in prefills)


def longer(one: float, other: float, sharpness: float) -> float:
    """The smooth maximum of two times: at least the longer one, at most their sum."""
    return (one**sharpness + other**sharpness) ** (1 / sharpness)


def simulated_terms(settings: Settings) -> Terms:
    """The terms of SIMULATION's device and --model; SettingsError where one of them is unknown."""
    return terms(
        find_device(settings.simulation),
        simulated_model(settings),
        settings.tensor_parallel_size,
        settings.pipeline_parallel_size,
        expert_parallel=settings.enable_expert_parallel,
    )


def host_of(settings: Settings) -> Host:
    """What the CPU adds, with or without --async-scheduling."""
    return HOST if settings.async_scheduling else HOST_IN_TURN


def roofline(settings: Settings) -> Roofline:
    """The roofline of the settings; SettingsError where its device or model is unknown."""
    return Roofline(simulated_terms(settings), host_of(settings))
