"""The simulator: `Simulator`, the engine of `SIMULATION=a100 python app.py`, and its offline twin, `simulate`."""

from vllm_mock.engine.simulated import Simulator

__all__ = ["Simulator"]
