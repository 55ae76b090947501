"""Rows of the table: the GPU that is simulated instead of constant latencies."""

from .durations import MILLISECONDS
from .flag import Environment, setting
from .kinds import LATCH, PATH, SWITCH, TEXT, Kind, choice, number, optional


def _simulation(text: str) -> str:
    return "" if text.lower() == "disabled" else text


DEVICE = Kind(lambda words: _simulation(words[0]), "a device or disabled", "DEVICE")


class SimulationSettings:
    """Simulation"""

    simulation: str = setting(
        "",
        DEVICE,
        "Device to simulate, such as a100, instead of constant latencies.",
        name="--replica-config-device",
        environment=(Environment("SIMULATION"),),
        default_text="off",
    )
    simulated_model: str | None = setting(
        None,
        optional(TEXT),
        "Model whose dimensions count, where --model names another.",
        name="--replica-config-model-name",
        default_text="the model",
    )
    time_scale: float = setting(
        1.0, number(0, above=True), "Simulated time runs so many times faster; the metrics tell of simulated seconds."
    )
    async_scheduling: bool = setting(
        True,
        SWITCH,
        "In a simulation, the next step is scheduled while one runs: that hides time of the CPU, and who arrives "
        "meanwhile waits one step longer.",
    )
    frontend_latency: float = setting(
        0.009,
        MILLISECONDS,
        "In a simulation, what HTTP, tokenization and the way to the engine and back take: from a request's arrival to "
        "the engine's queue, and part of the time to its first token.",
    )
    step_time: str = setting(
        "auto",
        choice("auto", "roofline", "vidur", "aiconfigurator"),
        "Where the time of a step comes from; auto is vidur where it is installed and can tell, else roofline.",
    )
    vidur_profiles: str | None = setting(
        None,
        optional(PATH),
        "Folder with compute/ and network/ profiles in vidur's format.",
        default_text="the cache, else synthetic ones",
    )
    simulation_cache: str = setting(
        "",
        PATH,
        "Folder for what a simulation prepares once.",
        environment=(Environment("VLLM_MOCK_CACHE"),),
        default_text="~/.cache/vllm-mock",
    )
    prepare_simulation: bool = setting(False, LATCH, "Fill that folder, downloading what helps, and exit.")
    time_limit: float | None = setting(
        None, optional(number(0, unit="seconds")), "As --prepare-simulation; the time itself does not matter."
    )
