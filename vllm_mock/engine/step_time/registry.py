"""Every StepTime by its name."""

from collections.abc import Callable

from vllm_mock.engine.step_time.base import StepTime
from vllm_mock.engine.step_time.roofline import roofline
from vllm_mock.settings import Settings, SettingsError


def _vidur(settings: Settings) -> StepTime:
    from vllm_mock.engine.step_time.vidur.source import vidur, vidur_refusal

    if (reason := vidur_refusal(settings)) is not None:
        raise SettingsError(f"--step-time vidur: {reason}")
    return vidur(settings)


def _aiconfigurator(settings: Settings) -> StepTime:
    from vllm_mock.engine.step_time.aiconfigurator import aiconfigurator

    return aiconfigurator(settings)


_BUILDERS: dict[str, Callable[[Settings], StepTime]] = {
    "roofline": roofline,
    "vidur": _vidur,
    "aiconfigurator": _aiconfigurator,
}


def chosen(settings: Settings) -> tuple[str, str | None]:
    """The name of the StepTime, and where --step-time auto does without vidur, why."""
    if settings.step_time != "auto":
        return settings.step_time, None
    from vllm_mock.engine.step_time.vidur.source import vidur_refusal

    reason = vidur_refusal(settings)
    return ("vidur", None) if reason is None else ("roofline", reason)


def step_time(settings: Settings) -> StepTime:
    """The StepTime of --step-time; SettingsError, one line, where it cannot be had."""
    return _BUILDERS[chosen(settings)[0]](settings)
