"""How long one step of the engine takes on a simulated GPU. Plain numbers in, seconds out."""

from vllm_mock.engine.step_time.base import StepTime
from vllm_mock.engine.step_time.batch import Batch
from vllm_mock.engine.step_time.memory import kv_cache_tokens
from vllm_mock.engine.step_time.registry import step_time

__all__ = ["Batch", "StepTime", "kv_cache_tokens", "step_time"]
