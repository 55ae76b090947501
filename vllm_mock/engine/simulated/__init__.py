"""An engine whose times come from a simulated GPU: batches, queues and KV pressure as vLLM has them."""

from vllm_mock.engine.simulated.clock import SimulatedClock
from vllm_mock.engine.simulated.gpu import SimulatedGPU
from vllm_mock.engine.simulated.handle import SimulatedHandle
from vllm_mock.engine.simulated.simulator import Simulator

__all__ = ["SimulatedClock", "SimulatedGPU", "SimulatedHandle", "Simulator"]
