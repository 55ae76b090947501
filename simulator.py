"""The simulator: `Simulator`, the engine of `SIMULATION=a100 python app.py`, and `simulate`, its offline twin.

`python simulator.py TRACE` is short for `python -m vllm_mock.simulate TRACE`.
"""

import sys

from vllm_mock.engine.simulated import Simulator
from vllm_mock.simulate import simulate

__all__ = ["Simulator", "simulate"]

if __name__ == "__main__":
    from vllm_mock.simulate.command import main

    sys.exit(main(sys.argv[1:]))
