"""When it is said: requests in, token timings out. Knows token ids and seconds, never text."""

from vllm_mock.engine.engine import Engine
from vllm_mock.engine.fixed import FixedEngine
from vllm_mock.engine.handle import RequestHandle, SamplingGroup
from vllm_mock.engine.observer import EngineObserver
from vllm_mock.engine.request import FINISH_REASONS, EnginePaused, EngineRequest, Failure, NeverFits, QueueFull
from vllm_mock.engine.timeline import Timeline, TokenTiming

__all__ = [
    "FINISH_REASONS",
    "Engine",
    "EngineObserver",
    "EnginePaused",
    "EngineRequest",
    "Failure",
    "FixedEngine",
    "NeverFits",
    "QueueFull",
    "RequestHandle",
    "SamplingGroup",
    "Timeline",
    "TokenTiming",
]
