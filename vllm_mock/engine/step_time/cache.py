"""Where a simulation keeps what it prepares once."""

import os
import tempfile
from pathlib import Path

from vllm_mock.settings import Settings


def cached(settings: Settings, name: str) -> Path | None:
    """The file `name` of the cache, if it is there."""
    return next((folder / name for folder in _folders(settings) if (folder / name).exists()), None)


def cache_folder(settings: Settings) -> Path:
    """A folder to write to: --simulation-cache, or one for temporary files where that is read-only."""
    for folder in _folders(settings):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return Path(tempfile.mkdtemp(prefix="vllm-mock-"))


def _folders(settings: Settings) -> list[Path]:
    temporary = Path(tempfile.gettempdir()) / f"vllm-mock-{os.getuid()}"
    return [Path(settings.simulation_cache) if settings.simulation_cache else _default(), temporary]


def _default() -> Path:
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "vllm-mock"
    return Path(os.path.expanduser("~")) / ".cache" / "vllm-mock"
