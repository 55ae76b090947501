"""StepTime: the interface of everything that says how long a step takes."""

from typing import Literal, Protocol

from vllm_mock.engine.step_time.batch import Batch

Origin = Literal["measured", "synthetic", "analytic"]


class StepTime(Protocol):
    """A simulated GPU (or several, with tensor and pipeline parallelism) that runs one model.

    name: as in --step-time. origin: measured on the device itself, synthetic (a measured form filled by the
    roofline), or analytic (from the dimensions of model and device).
    """

    name: str
    origin: Origin

    def seconds(self, batch: Batch) -> float:
        """How long the step takes; 0 for an empty batch. Any batch has a time: out of range it is extrapolated."""
        ...
