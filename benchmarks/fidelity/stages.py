"""Stages of the fit: which constants are free, on which rows, and what follows for others.

The number beside a constant says how far (as a logarithm) it may go from where it began before that counts as an error.
"""

import copy
import enum

from benchmarks.fidelity.constants import Constants

HOPPER, BLACKWELL = ("h100", "h200"), ("b200",)

_DENSE = {"layer_us": 0.4, "sequence_ns": 1.0, "all_reduce_us": 1.0, "link": 0.5, "sharpness.0.5": 0.5}
_DENSE_OF = {
    HOPPER: {
        "weights.1": 0.3, "gemm.1": 0.3, "kv_cache.1": 0.5, "prefill_layer_us": 0.7,
        "weights.2": 0.07, "gemm.2": 0.07, "kv_cache.2": 0.1,
        "step": 0.3, "sequence": 0.5, "prefill": 0.5, "step_in_turn": 1.0, "sequence_in_turn": 1.0, "frontend": 0.7,
    },
    BLACKWELL: {
        "weights.0.5": 0.3, "gemm.0.5": 0.3, "kv_cache.1": 0.1, "prefill_layer_us": 0.5,
        "weights.2": 0.1, "kv_cache.2": 0.05, "traffic": 0.4,
    },
}  # fmt: skip
_EXPERTS = {"expert_sharpness": 1.0, "expert_layer_us": 1.0, "expert_traffic": 0.7, "expert_ns": 1.5}
_EXPERT_SIZES = {HOPPER: ("1", "0.53", "0.5"), BLACKWELL: ("1", "0.53", "0.56")}
_BY_SIZE = {"expert_weights": 0.3, "expert_gemm": 0.5, "expert_spread": 0.3}

# The H100's shares for experts over the H200's, and the B200's for fp8 over the H200's: ratios of measured kernels.
_H100_EXPERTS = {"1": 1.12, "0.53": 1.37, "0.5": 1.37}
_B200_WEIGHTS, _B200_GEMM = 0.499 / 0.635, 0.44 / 0.507


class Stage(enum.Enum):
    """One least-squares fit of a family of devices."""

    DENSE = "dense models"
    MIXTURES = "mixtures"
    ALL = "all"

    @property
    def ttft(self) -> float:
        """The error of TTFT, as a logarithm, that counts as one."""
        return {Stage.DENSE: 0.3, Stage.MIXTURES: 0.6, Stage.ALL: 0.4}[self]

    def takes(self, mixture: bool) -> bool:
        """Whether it is fitted to models of this kind."""
        return self is Stage.ALL or (self is Stage.MIXTURES) == mixture

    def free(self, devices: tuple[str, ...]) -> dict[str, float]:
        """The constants that it may move, and how far."""
        found: dict[str, float] = {}
        if self is not Stage.MIXTURES:
            found |= _DENSE | _DENSE_OF[devices]
        if self is not Stage.DENSE:
            found |= _EXPERTS
            found |= {f"{part}.{size}": far for part, far in _BY_SIZE.items() for size in _EXPERT_SIZES[devices]}
        return found


def for_h100(constants: Constants) -> Constants:
    """With the H100's shares for experts."""
    found = copy.deepcopy(constants)
    for size, ratio in _H100_EXPERTS.items():
        found.put("h100", f"expert_weights.{size}", ratio * found.get("h200", f"expert_weights.{size}"))
    return found


def before_blackwell(constants: Constants) -> Constants:
    """With the B200's shares for dense weights in fp8, whose servers are held out."""
    found = copy.deepcopy(constants)
    found.put("b200", "weights.1", _B200_WEIGHTS * found.get("h200", "weights.1"))
    found.put("b200", "gemm.1", _B200_GEMM * found.get("h200", "gemm.1"))
    return found
