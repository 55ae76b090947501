"""Settings: every attribute that the other rooms read. Its base classes are the table, by topic."""

import copy
from functools import lru_cache
from typing import Any, NoReturn

from .engine import EngineSettings, LatencySettings, MetricsSettings
from .flag import Flag, rows
from .model import ChatSettings, LoRASettings, ModelSettings, OutputSettings
from .server import PodSettings, ServerSettings
from .simulation import SimulationSettings

TOPICS: tuple[type, ...] = (
    ServerSettings,
    ModelSettings,
    OutputSettings,
    ChatSettings,
    LatencySettings,
    EngineSettings,
    SimulationSettings,
    LoRASettings,
    MetricsSettings,
    PodSettings,
)
"""In the order of --help and of the documentation; a class's docstring is its heading."""


@lru_cache(maxsize=1)
def acting_flags() -> tuple[Flag, ...]:
    """Every row of the table, in its order."""
    return tuple(flag for topic in TOPICS for flag in rows(topic))


class Settings(
    ServerSettings,
    ModelSettings,
    OutputSettings,
    ChatSettings,
    LatencySettings,
    EngineSettings,
    SimulationSettings,
    LoRASettings,
    MetricsSettings,
    PodSettings,
):
    """All settings: the rows' defaults, and the values given. Durations are in seconds. It cannot be changed.

    given: attributes that were set rather than left at their defaults. ignored_flags: the given flags of vLLM
    that have no effect here. warnings: lines for the start-up log.
    """

    given: frozenset[str]
    ignored_flags: list[str]
    warnings: list[str]

    def __init__(self, **values: Any) -> None:
        attributes = {flag.dest: copy.copy(flag.default) for flag in acting_flags()}
        attributes |= {"given": frozenset(), "ignored_flags": [], "warnings": []}
        if unknown := values.keys() - attributes.keys():
            raise TypeError(f"no such settings: {', '.join(sorted(unknown))}")
        vars(self).update(attributes | values)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"settings cannot be changed ({name})")

    def __repr__(self) -> str:
        secret = {flag.dest for flag in acting_flags() if flag.secret}
        shown = (f"{name}={value!r}" for name, value in vars(self).items() if name not in secret)
        return f"Settings({', '.join(shown)})"
