"""Every StepTime by its name."""

from collections.abc import Callable

from vllm_mock.engine.step_time.base import StepTime
from vllm_mock.engine.step_time.roofline import roofline
from vllm_mock.settings import Settings

_BUILDERS: dict[str, Callable[[Settings], StepTime]] = {"roofline": roofline}


def step_time(settings: Settings) -> StepTime:
    """The StepTime of --step-time; SettingsError, one line, where it cannot be had."""
    return _BUILDERS["roofline"](settings)
