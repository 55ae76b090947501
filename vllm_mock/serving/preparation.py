"""What the master does for a simulation before it forks, and `python app.py --prepare-simulation`."""

from vllm_mock.settings import Settings, SettingsError


def prepare_simulation(settings: Settings) -> None:
    """Make what all workers need; SettingsError, one line, for what cannot be simulated."""
    if settings.simulation:
        _prepare(settings)


def fill_caches(settings: Settings) -> None:
    """Download and train whatever the settings need, so that a later start needs no network."""
    if not settings.simulation:
        raise SettingsError("--prepare-simulation needs a device, as in SIMULATION=a100")
    _prepare(settings, download=True)
    if settings.tokenizer:
        from vllm_mock.tokenizer import load_tokenizer

        load_tokenizer(settings)


def _prepare(settings: Settings, download: bool = False) -> None:
    from vllm_mock.engine.step_time.preparation import prepare

    prepare(settings, download)
